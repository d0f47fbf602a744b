//! `hec verify`: what is stated is recomputed, and what does not hold is refused.

use hec::Program;
use hec::ir::parameters::{Literal, Parameters, PrimeSearch};
use hec_protocol::preamble::{EVALUATION, Kind, SECRET};

use crate::common::small;
use crate::process::{Folder, model};

/// Magic, version and digest.
const HEADER: usize = 44;

fn compiled() -> (Folder, Vec<u8>) {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.hec(&["compile", "small.onnx"]).ok();
    let bytes = folder.read("small.hec");
    (folder, bytes)
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The same file with more fields for its parameters (protobuf adds them to those that are there), and a digest that fits.
fn edited(bytes: &[u8], fields: &[u8]) -> Vec<u8> {
    let parameters = [&[0x0a][..], &varint(fields.len() as u64), fields].concat();
    let body = [&bytes[HEADER..], &parameters].concat();
    [&bytes[..12], blake3::hash(&body).as_bytes(), &body].concat()
}

/// `count` primes of `bits` bits that `parameters` do not have.
fn other_primes(parameters: &Parameters, bits: u32, count: usize) -> Vec<u64> {
    let taken = [parameters.moduli(), parameters.special_primes()].concat();
    let mut search = PrimeSearch::for_ring(parameters.ring());
    std::iter::from_fn(|| search.take(bits)).filter(|prime| !taken.contains(prime)).take(count).collect()
}

/// `count` more special primes of `bits` bits.
fn more_primes(bytes: &[u8], bits: u32, count: usize) -> Vec<u8> {
    let primes = other_primes(Program::from_bytes(bytes).unwrap().parameters(), bits, count);
    let fields: Vec<u8> = primes.into_iter().flat_map(|prime| [vec![0x18], varint(prime)].concat()).collect();
    edited(bytes, &fields)
}

#[test]
fn what_holds_is_stated_in_full() {
    let (folder, _) = compiled();
    let said = folder.hec(&["verify", "small.hec"]).ok().stdout;
    for part in [
        "128 bits of security hold",
        "uniform over {-1, 0, 1}",
        "3.19",
        "log2(QP)",
        "eprint 2024/463",
        "MATZOV",
        "the same",
    ] {
        assert!(said.contains(part), "expected {part:?} in {said}");
    }
    let json = folder.hec(&["verify", "small.hec", "--json"]).json();
    assert_eq!((&json["holds"], &json["stated"]), (&true.into(), &true.into()));
    let statement = &json["statement"];
    assert_eq!((&statement["security"], &statement["error_std"]), (&128.into(), &3.19.into()));
    assert!(statement["log_qp"].as_f64().unwrap() <= statement["allowed_log_qp"].as_f64().unwrap());
    let cheapest = statement["estimates"]["attacks"][0]["log2_cost"].as_f64().unwrap();
    assert!((127.9..270.0).contains(&cheapest), "{cheapest}");
    let program = Program::from_bytes(&folder.read("small.hec")).unwrap();
    assert_eq!(statement["log_n"], program.parameters().log_n());
}

#[test]
fn evaluation_keys_have_moduli_of_their_own() {
    let folder = Folder::new();
    folder.hec(&["compile", &model("cryptonets-mnist"), "--layout", "packed", "-o", "packed.hec"]).ok();
    let json = folder.hec(&["verify", "packed.hec", "--json"]).json();
    let keys = json["statement"]["keys"].as_array().unwrap();
    assert!(keys.iter().any(|key| key["kind"] == "rotation" && key["count"].as_u64() > Some(1)), "{keys:?}");
    let largest = json["statement"]["log_qp"].as_f64().unwrap();
    assert!(keys.iter().all(|key| key["log_qp"].as_f64().unwrap() <= largest + 0.001), "{keys:?}");
}

/// With a digest that fits: whoever edits a file can compute it.
#[test]
fn a_larger_modulus_is_refused() {
    let (folder, bytes) = compiled();
    folder.write("large.hec", more_primes(&bytes, 49, 6));
    folder.hec(&["verify", "large.hec"]).error_with(&["large.hec", "too large for 128 bits of security", "2024/463"]);
    folder.hec(&["verify", "large.hec", "--json"]).error_with(&["large.hec", "too large for 128 bits of security"]);
}

#[test]
fn a_claim_of_more_security_is_refused() {
    let folder = Folder::new();
    // 128 bits of security are all that these primes give.
    folder.write("small.onnx", small().bytes());
    folder.write("p.json", r#"{"poly_modulus_degree": 8192, "coeff_modulus": [50, 50, 50, 50]}"#);
    folder.hec(&["compile", "small.onnx", "--params", "p.json"]).ok();
    folder.write("bold.hec", edited(&folder.read("small.hec"), &[[0x20].as_slice(), &varint(256)].concat()));
    folder.hec(&["verify", "bold.hec"]).error_with(&["bold.hec", "too large for 256 bits of security", "114 bits"]);
}

/// What the table still allows is not what the file states.
#[test]
fn parameters_edited_within_the_table_contradict_the_statement() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.write("p.json", r#"{"poly_modulus_degree": 16384, "coeff_modulus": [50, 50, 50, 50]}"#);
    folder.hec(&["compile", "small.onnx", "--params", "p.json"]).ok();
    folder.hec(&["verify", "small.hec"]).ok();
    folder.write("other.hec", more_primes(&folder.read("small.hec"), 49, 1));
    folder.hec(&["verify", "other.hec"]).error_with(&["other.hec", "does not hold", "log_", "compile the model again"]);
}

#[test]
fn statements_that_say_otherwise_are_refused() {
    let (folder, bytes) = compiled();
    let program = Program::from_bytes(&bytes).unwrap();
    let statement = program.annotation("security").unwrap().to_owned();
    let with = |text: &str| {
        folder.write("stated.hec", program.clone().with_annotation("security", text).to_bytes());
        folder.hec(&["verify", "stated.hec"])
    };
    with(&statement).ok();
    with(&statement.replace("\"security\":128", "\"security\":256")).error_with(&["\"security\" is stated as 256"]);
    with(&statement.replacen('{', "{\"audited\":true,", 1)).error_with(&["\"audited\""]);
    with("{}").error_with(&["does not hold"]);
    with("[]").error_with(&["does not hold"]);
    with("{").error_with(&["no JSON"]);
    // The library writes none.
    let model = hec::import(&small().bytes(), &hec::ImportOptions::default()).unwrap();
    folder.write("plain.hec", hec::compile(&model, &hec::Options::default()).unwrap().program.to_bytes());
    assert_eq!(folder.hec(&["verify", "plain.hec", "--json"]).json()["stated"], false);
}

#[test]
fn what_is_no_program_promises_nothing() {
    let (folder, bytes) = compiled();
    folder.hec(&["verify", "small.onnx"]).error_with(&["small.onnx", "compile it first"]);
    folder.write("cut.hec", &bytes[..bytes.len() / 2]);
    folder.hec(&["verify", "cut.hec"]).error_with(&["cut.hec", "damaged"]);
    folder.hec(&["verify", "absent.hec"]).error_with(&["absent.hec", "cannot be read"]);
}

/// A program with rotation keys, its keys, and ciphertexts.
fn with_keys() -> Folder {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.write("x.csv", "0.5,0.25,1,0\n0,1,0,1\n");
    folder.hec(&["compile", "small.onnx", "--layout", "packed"]).ok();
    folder.hec(&["keygen", "--client", "small.hecclient", "-o", "keys"]).ok();
    let own = ["encrypt", "--client", "small.hecclient", "--key", "keys/secret.heckey", "--input", "x.csv"];
    folder.hec(&[&own[..], &["-o", "x.hecct"]].concat()).ok();
    folder
}

const MATERIAL: [(&str, &str); 3] = [
    ("keys/secret.heckey", "secret key"),
    ("keys/evaluation.heckeys", "file of evaluation keys"),
    ("x.hecct", "file of ciphertexts"),
];

#[test]
fn keys_and_ciphertexts_hold_what_their_parameters_promise() {
    let folder = with_keys();
    let verify = |file: &str, client: &str| folder.hec(&["verify", file, "--client", client, "--json"]).json();
    let program = folder.hec(&["verify", "small.hec", "--json"]).json();
    let client = folder.hec(&["verify", "small.hecclient", "--json"]).json();
    assert_eq!((&client["statement"], &client["stated"]), (&program["statement"], &true.into()));
    let mut prints = Vec::new();
    for (file, kind) in MATERIAL {
        let found = verify(file, "small.hecclient");
        assert_eq!((&found["holds"], &found["kind"]), (&true.into(), &kind.into()), "{found}");
        assert_eq!(found, verify(file, "small.hec"), "the program says the same as its client file");
        if kind == "file of ciphertexts" {
            assert_eq!(found["stated"], false);
        } else {
            assert_eq!(found["stated"], true);
            assert_eq!(found, folder.hec(&["verify", file, "--json"]).json(), "keys say it by themselves");
            assert!(folder.hec(&["verify", file]).ok().stdout.contains("stated in the file  the same"));
        }
        assert_eq!(found["statement"]["log_qp"], program["statement"]["log_qp"]);
        assert_eq!(found["parameters"].as_str().unwrap().len(), 64);
        prints.push(found["key"].as_str().unwrap().to_owned());
        if file.ends_with("evaluation.heckeys") {
            assert_eq!(found["statement"]["keys"], program["statement"]["keys"], "the keys that the program needs");
        }
    }
    assert!(prints.iter().all(|print| *print == prints[0]), "one key: {prints:?}");
    assert_eq!(*prints[0], *blake3::hash(&folder.read("keys/evaluation.heckeys")).to_hex());
    let said = folder.hec(&["verify", "x.hecct", "--client", "small.hecclient"]).ok().stdout;
    assert!(said.contains("128 bits of security hold") && said.contains("encrypted inputs"), "{said}");
}

#[test]
fn keys_and_ciphertexts_that_do_not_hold_are_refused() {
    let folder = with_keys();
    folder.hec(&["compile", "small.onnx", "-o", "other.hec"]).ok();
    folder.hec(&["verify", "x.hecct"]).error_with(&["x.hecct", "--client"]);
    for (file, _) in MATERIAL {
        folder.hec(&["verify", file, "--client", "other.hecclient"]).error_with(&[file, "made for other parameters"]);
        let bytes = folder.read(file);
        // A residue, or a coefficient: whatever lies in the middle.
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 0x10;
        folder.write(file, &damaged);
        folder.hec(&["verify", file, "--client", "small.hecclient"]).error_with(&[file]);
        folder.write(file, &bytes[..bytes.len() - 1]);
        folder.hec(&["verify", file, "--client", "small.hecclient"]).error_with(&[file]);
        folder.write(file, &bytes);
        folder.hec(&["verify", file, "--client", "small.hecclient"]).ok();
    }
    // Sound values with a fingerprint of others in front.
    let mut bytes = folder.read("keys/evaluation.heckeys");
    bytes[12] ^= 1;
    folder.write("keys/evaluation.heckeys", &bytes);
    let said = folder.hec(&["verify", "keys/evaluation.heckeys", "--client", "small.hecclient"]);
    said.error_with(&["made for other parameters"]);
}

/// A file of keys that says something else before the keys.
fn saying<const FIELDS: usize>(
    kind: Kind<FIELDS>,
    file: &[u8],
    edit: &dyn Fn(Parameters, String) -> (Parameters, String),
) -> Vec<u8> {
    let mut keys = file;
    let (fields, preamble) = kind.read(&mut keys).unwrap();
    let (parameters, statement) = edit(preamble.parameters().unwrap(), preamble.statement);
    [&kind.bytes(&parameters, &fields, &statement).unwrap(), keys].concat()
}

type Edit = Box<dyn Fn(Parameters, String) -> (Parameters, String)>;

/// Another statement, and what is said about it.
fn restated(from: &'static str, to: &'static str, said: &'static str) -> (Edit, &'static str) {
    (Box::new(move |own, statement| (own, statement.replacen(from, to, 1))), said)
}

/// Other parameters, with the fingerprint that they have.
fn with_primes(bits: u32, count: usize, said: &'static str) -> (Edit, &'static str) {
    let edit = move |own: Parameters, statement| {
        let special_primes = [own.special_primes(), &other_primes(&own, bits, count)].concat();
        let literal = Literal { special_primes, ..own.literal().clone() };
        let made = Parameters::new(literal.clone()).or_else(|_| Parameters::insecure_for_tests(literal));
        (made.unwrap(), statement)
    };
    (Box::new(edit), said)
}

#[test]
fn keys_that_state_otherwise_are_refused() {
    let folder = with_keys();
    folder.write("pass", "correct horse");
    let client = ["--client", "small.hecclient"];
    folder.hec(&[&["keygen"][..], &client, &["-o", "locked", "--passphrase-file", "pass"]].concat()).ok();
    let edits = [
        restated("\"security\":128", "\"security\":256", "\"security\" is stated as 256"),
        restated("\"table\":\"", "\"table\":\"my ", "\"table\" is stated as \\\"my "),
        restated("\"keys\":[", "\"keys\":[7],\"more\":[", "\"keys\" is stated as"),
        restated("{", "{\"audited\":true,", "\"audited\" is stated as true"),
        restated("{", "", "no JSON"),
        with_primes(49, 40, "too large for 128 bits of security"),
        with_primes(25, 1, "parameters"),
    ];
    let none: Edit = Box::new(|own, _| (own, String::new()));
    for (file, sealed) in
        [("keys/secret.heckey", false), ("keys/evaluation.heckeys", false), ("locked/secret.heckey", true)]
    {
        let good = folder.read(file);
        let verify = |more: &[&str]| folder.hec(&[&["verify", file, "--passphrase-file", "pass"][..], more].concat());
        let write = |edit: &Edit| {
            let secret = file.ends_with("secret.heckey");
            folder.write(file, if secret { saying(SECRET, &good, edit) } else { saying(EVALUATION, &good, edit) });
        };
        assert_eq!(verify(&["--json"]).json()["stated"], true);
        for (edit, said) in &edits {
            write(edit);
            // With a passphrase all that is said before the key is authenticated: its check comes before the comparison.
            let said = if sealed && !said.starts_with("too large") { "" } else { said };
            verify(&[]).error_with(&[file, said]);
            verify(&client).error_with(&[file]);
        }
        write(&none);
        if sealed {
            verify(&[]).error_with(&["the passphrase is wrong, or the file was changed"]);
        } else {
            assert_eq!(verify(&["--json"]).json()["stated"], false, "nothing is stated");
            assert!(verify(&[]).ok().stdout.contains("stated in the file  nothing"));
        }
        // As the first version was.
        let mut first = good.clone();
        first[8] = 1;
        folder.write(file, first);
        verify(&[]).error_with(&[file, "format version 1", "make the keys again with `hec keygen`"]);
        folder.write(file, good);
        verify(&[]).ok();
    }
    // Keys that hold by themselves need not serve a program.
    folder.hec(&["compile", "small.onnx", "-o", "other.hec"]).ok();
    folder.hec(&["verify", "keys/evaluation.heckeys", "--client", "other.hec"]).error_with(&["other parameters"]);
}
