//! Migrations are embedded by a macro, which does not notice that a file was added.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
