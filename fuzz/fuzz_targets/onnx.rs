//! ONNX bytes to a tensor graph, whose text is then written.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(graph) = hec::import(bytes, &hec::ImportOptions::default()) {
        let _ = graph.to_string();
    }
});
