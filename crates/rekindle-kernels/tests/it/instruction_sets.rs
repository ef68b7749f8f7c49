//! The tests of this program run for each instruction set of this machine; those it lacks are counted as skipped.

use rekindle_kernels::Isa;
use test_support::{Needs, rerun, skip};

#[test]
fn every_instruction_set_was_tested() {
    let of_this_target: &[Isa] = match cfg!(target_arch = "x86_64") {
        true => &[Isa::Portable, Isa::Avx2, Isa::Avx512],
        false => &[Isa::Portable],
    };
    for isa in of_this_target {
        if !isa.is_available() {
            skip(
                Needs::Instructions,
                format!("no kernel was tested on {isa}, which this processor lacks"),
            );
        }
    }
}

#[test]
fn the_environment_names_an_instruction_set() {
    for isa in Isa::available() {
        rerun(
            "instruction_sets::the_one_named_is_taken",
            "REKINDLE_ISA",
            &isa.to_string(),
        );
    }
    rerun(
        "instruction_sets::the_one_named_is_taken",
        "REKINDLE_ISA",
        "avx1024",
    );
}

/// Run again by the test above with the variable set.
#[test]
fn the_one_named_is_taken() {
    let best = *Isa::available().last().unwrap();
    let expected = match std::env::var("REKINDLE_ISA").as_deref() {
        Ok("portable") => Isa::Portable,
        Ok("avx2") => Isa::Avx2,
        Ok("avx512") => Isa::Avx512,
        _ => best,
    };
    assert_eq!(Isa::detect(), expected);
}
