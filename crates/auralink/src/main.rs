//! AuraLink: one binary, roles are subcommands.
fn main() {}
