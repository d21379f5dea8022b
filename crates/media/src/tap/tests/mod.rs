mod bench;
mod faults;
mod input;
mod rungs;
