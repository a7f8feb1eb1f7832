//! stub
#[derive(Debug, clap::Args)]
pub struct DemoArgs {}
pub fn run(_: &DemoArgs) -> Result<u8, super::Failure> {
    Ok(0)
}
