//! Prints how many tests of this `cargo test` could not run, and why. Run last, by the name of its package.

fn main() {
    let skipped = test_support::recorded();
    println!("\nskipped: {} tests that could not run here", skipped.len());
    for skip in &skipped {
        println!("  {} ({}): {}", skip.test, skip.needs, skip.reason);
    }
    if skipped.iter().any(|skip| skip.needs == "shared") {
        println!("  ../shared is an optional folder; CONTRIBUTING.md says what it adds");
    }
    println!();
}
