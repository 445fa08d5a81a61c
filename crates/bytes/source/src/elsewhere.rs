//! A blob that may lie in another place than the first one that is asked: whoever copies an image need not copy all that
//! belongs to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use glowplug_base::ByteRange;
use glowplug_timeline::Cause;

use crate::{ByteStream, Kind, RangeSource, SourceError};

/// Reads from one source, or from the other once the first has said that it does not have the blob.
#[derive(Debug)]
pub struct Elsewhere {
    here: Arc<dyn RangeSource>,
    there: Arc<dyn RangeSource>,
    /// The first does not have it.
    moved: AtomicBool,
}

impl Elsewhere {
    /// Asks `here` first. Both are of the same blob.
    pub fn new(here: Arc<dyn RangeSource>, there: Arc<dyn RangeSource>) -> Self {
        Self { here, there, moved: AtomicBool::new(false) }
    }

    fn current(&self) -> &Arc<dyn RangeSource> {
        if self.moved.load(Ordering::Relaxed) { &self.there } else { &self.here }
    }
}

impl RangeSource for Elsewhere {
    fn name(&self) -> &str {
        self.current().name()
    }

    fn host(&self) -> &str {
        self.here.host()
    }

    fn size(&self) -> u64 {
        self.here.size()
    }

    fn distrust(&self, range: ByteRange) {
        self.current().distrust(range);
    }

    fn open(&self, range: ByteRange, cause: Cause) -> BoxFuture<'_, Result<ByteStream, SourceError>> {
        Box::pin(async move {
            if !self.moved.load(Ordering::Relaxed) {
                match self.here.open(range, cause).await {
                    Err(error) if error.kind == Kind::NotFound => self.moved.store(true, Ordering::Relaxed),
                    outcome => return outcome,
                }
            }
            self.there.open(range, cause).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemorySource, read_all};

    /// Has nothing, for a reason.
    #[derive(Debug)]
    struct Empty(Kind);

    impl RangeSource for Empty {
        fn name(&self) -> &str {
            "empty"
        }

        fn size(&self) -> u64 {
            4
        }

        fn open(&self, _: ByteRange, _: Cause) -> BoxFuture<'_, Result<ByteStream, SourceError>> {
            Box::pin(async { Err(SourceError::new("empty", self.0.clone())) })
        }
    }

    #[tokio::test]
    async fn the_other_place_is_asked_for_what_is_not_there_and_for_nothing_else() {
        let there: Arc<dyn RangeSource> = Arc::new(MemorySource::new("there", "blob"));
        let range = ByteRange::new(0, 4);
        let missing = Elsewhere::new(Arc::new(Empty(Kind::NotFound)), there.clone());
        assert_eq!(read_all(&missing, range, Cause::Fault).await.unwrap(), b"blob");
        assert_eq!(missing.name(), "there");
        let broken = Elsewhere::new(Arc::new(Empty(Kind::Server(500))), there.clone());
        assert_eq!(read_all(&broken, range, Cause::Fault).await.unwrap_err().kind, Kind::Server(500));
        let first = Elsewhere::new(Arc::new(MemorySource::new("here", "mine")), there);
        assert_eq!(read_all(&first, range, Cause::Fault).await.unwrap(), b"mine");
    }
}
