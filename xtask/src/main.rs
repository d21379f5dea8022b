//! The project s chores behind one door.
fn main() {}
