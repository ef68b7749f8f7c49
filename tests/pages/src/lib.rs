//! The code on the crates' front pages: `cargo test -p pages --doc` compiles it in a crate that knows no Burn but what
//! these crates hand on.

macro_rules! pages {
    ($($name:ident: $readme:literal, $front:literal;)*) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!(concat!("../../../crates/", $readme))]
            #[doc = include_str!(concat!(env!("OUT_DIR"), $front))]
            pub mod $name {}
        )*
    };
}

pages! {
    imagefolder: "rekindle-imagefolder/README.md", "/imagefolder.md";
    kernels: "rekindle-kernels/README.md", "/kernels.md";
    models: "rekindle-models/README.md", "/models.md";
    report: "rekindle-report/README.md", "/report.md";
    trainer: "rekindle-trainer/README.md", "/trainer.md";
    transfer: "rekindle-transfer/README.md", "/transfer.md";
    weights: "rekindle-weights/README.md", "/weights.md";
}
