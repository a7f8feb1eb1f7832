//! Where objects lie: an address as configurations give it, and the client for it.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path as Key;

/// Why an address can't be used.
pub(crate) type Reason = Box<dyn std::error::Error + Send + Sync>;

/// The object store at an address, and the prefix below which it is used; otherwise the address as it may be told, and
/// the reason.
pub(crate) fn address(url: &str) -> Result<(Arc<dyn ObjectStore>, Key), (String, Reason)> {
    let wrong = |source: Reason| (url.to_owned(), source);
    let parsed = url::Url::parse(url).map_err(|error| wrong(error.into()))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        // Not told: it would be in every log.
        let told = format!("{}://…", parsed.scheme());
        return Err((
            told,
            "it holds credentials; give them by the environment".into(),
        ));
    }
    if parsed.scheme() == "file" {
        let folder = parsed.to_file_path();
        let folder = folder.map_err(|()| wrong("it names no folder of this machine".into()))?;
        let objects = objects_in(&folder).map_err(wrong)?;
        return Ok((objects, Key::default()));
    }
    let cloud = ["aws_", "google_", "azure_"];
    let options = std::env::vars()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| cloud.iter().any(|prefix| name.starts_with(prefix)));
    let (objects, root) =
        object_store::parse_url_opts(&parsed, options).map_err(|error| wrong(error.into()))?;
    Ok((Arc::from(objects), root))
}

/// The objects of a folder, which is made.
pub(crate) fn objects_in(folder: &Path) -> Result<Arc<dyn ObjectStore>, Reason> {
    std::fs::create_dir_all(folder)?;
    let objects = object_store::local::LocalFileSystem::new_with_prefix(folder)?;
    Ok(Arc::new(objects))
}
