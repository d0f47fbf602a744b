//! The committed code is what the .proto files say. `HEC_GENERATE=1 cargo test -p hec-protocol --test generated` writes it again.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;

#[test]
fn generated_code_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated");
    std::fs::create_dir_all(&out).unwrap();
    let files = protox::compile(["inference.proto", "encrypted.proto"], [root.join("proto")]).unwrap();
    let settings = tonic_prost_build::configure().out_dir(&out).build_transport(false).bytes(".").btree_map(".");
    settings.compile_fds(files).unwrap();
    for name in ["inference.rs", "hec.v1.rs"] {
        let made = std::fs::read_to_string(out.join(name)).unwrap();
        let committed = root.join("src/generated").join(name);
        if std::env::var_os("HEC_GENERATE").is_some() {
            std::fs::create_dir_all(committed.parent().unwrap()).unwrap();
            std::fs::write(&committed, &made).unwrap();
        }
        let found = std::fs::read_to_string(&committed).unwrap_or_default();
        assert!(found == made, "{name} is not what proto/ says: run this test with HEC_GENERATE=1");
    }
}
