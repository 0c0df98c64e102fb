//! What the examples can do, they do: each branch and each edge of the wiring is taken by an event of a test, or a random one.

mod common;

use common::load;
use grv_lang::random;
use grv_verifier::prove::unseen;

#[test]
fn each_branch_and_edge_of_the_small_examples_is_taken() {
    let mut left = Vec::new();
    for name in ["bridge", "policer", "router", "lb-nat"] {
        let of = load(&format!("examples/{name}/{name}.grv"));
        for program in &of.boxes {
            let tests: Vec<_> = random::scripts(program, &of.tests);
            let explored = random::explore(program, &tests, 3_000, 0);
            left.extend(unseen(program, &explored.cover).iter().map(|(name, at)| format!("{}: {name}", of.sources.place(*at))));
        }
    }
    assert!(left.is_empty(), "not seen:\n{}", left.join("\n"));
}
