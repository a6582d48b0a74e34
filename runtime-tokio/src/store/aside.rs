//! Opening a data folder beside all else: while operators are answered already.

use super::opened::{NotOpened, Opened, Taken};
use super::status::StoreStatus;
use std::future::pending;
use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use tokio::sync::oneshot;

impl Taken {
    /// Opens all logs in it on a thread of its own, which goes on when nobody waits for it any more: until the process ends. What
    /// opening writes may be cut off anywhere.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn open_aside(
        self,
    ) -> io::Result<impl Future<Output = Result<Opened, NotOpened>> + use<>> {
        let (done, opened) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("mq-open".into())
            .spawn(move || done.send(self.open()).is_ok())?;
        Ok(async move {
            match opened.await {
                Ok(opened) => opened,
                // It has not sent anything, so it has panicked.
                Err(_) => match thread.join() {
                    Err(panic) => resume_unwind(panic),
                    Ok(_) => pending().await,
                },
            }
        })
    }

    /// The figures of the store.
    pub(crate) fn status(&self) -> Arc<StoreStatus> {
        Arc::clone(&self.status)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
