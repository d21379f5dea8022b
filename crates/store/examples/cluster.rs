//! Starts a temporary PostgreSQL, prints the URL of an empty migrated database in it, and keeps both until its input
//! ends. Ends with 3 where PostgreSQL isn't installed.

use std::io::Read as _;

use auralink_store::cluster::Cluster;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(cluster) = Cluster::shared() else {
        std::process::exit(3);
    };
    println!("{}", cluster.fresh_database().await?);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
