//! Every target holds on its seeds, and on each seed cut at every place.

use std::path::Path;

fn run(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("a folder of seeds") {
        let path = entry.expect("an entry").path();
        let mut seed = std::fs::read(&path).expect("a seed");
        for split in 0..=255 {
            seed[0] = split;
            check(&seed);
        }
        for end in 0..seed.len() {
            check(&seed[..end]);
        }
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", folder.display());
}

#[test]
fn request_head_holds_on_its_seeds() {
    run("request_head", ringway_fuzz::request_head);
}

#[test]
fn response_head_holds_on_its_seeds() {
    run("response_head", ringway_fuzz::response_head);
}

#[test]
fn chunked_holds_on_its_seeds() {
    run("chunked", ringway_fuzz::chunked);
}
