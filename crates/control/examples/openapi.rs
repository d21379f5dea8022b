//! Prints the REST API's description, as `auralink openapi` does.

fn main() {
    print!("{}", auralink_control::openapi_document());
}
