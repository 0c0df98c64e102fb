//! grv.
fn main() {}
