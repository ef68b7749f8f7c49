//! The code in README.md, the guide and the crates' front pages: `cargo test -p readme --doc` compiles and runs it in
//! a crate that depends on nothing but rekindle.

macro_rules! pages {
    ($($name:ident: $text:expr;)*) => {
        $(
            #[cfg(doctest)]
            #[doc = $text]
            pub mod $name {}
        )*
    };
}

pages! {
    readme: include_str!("../../../README.md");
    guide: include_str!("../../../docs/guide/README.md");
    imagefolder: include_str!("../../../crates/rekindle-imagefolder/README.md");
    kernels: include_str!("../../../crates/rekindle-kernels/README.md");
    resnet: include_str!("../../../crates/rekindle-resnet/README.md");
    trainer: include_str!("../../../crates/rekindle-trainer/README.md");
    transfer: include_str!("../../../crates/rekindle-transfer/README.md");
    rekindle_lib: include_str!(concat!(env!("OUT_DIR"), "/rekindle.md"));
    imagefolder_lib: include_str!(concat!(env!("OUT_DIR"), "/imagefolder.md"));
    kernels_lib: include_str!(concat!(env!("OUT_DIR"), "/kernels.md"));
    resnet_lib: include_str!(concat!(env!("OUT_DIR"), "/resnet.md"));
    trainer_lib: include_str!(concat!(env!("OUT_DIR"), "/trainer.md"));
    transfer_lib: include_str!(concat!(env!("OUT_DIR"), "/transfer.md"));
}
