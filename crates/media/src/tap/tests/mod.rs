mod bench;
mod faults;
mod input;
mod reasons;
mod rungs;
mod savings;
mod steering;
