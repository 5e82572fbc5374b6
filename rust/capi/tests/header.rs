//! The header is that of the crate. `WRITE_HEADER=1` writes it instead.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use precise_top_core::Field;

/// The numbers of the fields by name, which the compiler then checks.
fn field_numbers() -> String {
    let mut text = String::from(
        "/**\n * Numbers of the fields, by the kernel's names.\n */\nenum taskstats_field {\n",
    );
    for &field in Field::ALL {
        let _ = writeln!(text, "    TASKSTATS_FIELD_{} = {},", field.name(), field as u8);
    }
    text + "};"
}

#[test]
fn the_header_is_that_of_the_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config =
        cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    config.after_includes = Some(field_numbers());
    let bindings = cbindgen::Builder::new().with_crate(root).with_config(config).generate();
    let mut made = Vec::new();
    bindings.expect("the crate's items").write(&mut made);
    let path = root.join("include/taskstats.h");
    if env::var_os("WRITE_HEADER").is_some() {
        fs::write(&path, &made).expect("include/taskstats.h");
    }
    let kept = fs::read(&path).unwrap_or_default();
    assert!(kept == made, "include/taskstats.h is out of date: run `make capi-header`");
}
