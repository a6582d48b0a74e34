//! An engine of a test's own (tests/engines/up).

use crate::engine::is_wanted;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// An engine in a folder in which it is found again. There is one at a time.
pub(crate) struct Server {
    engine: &'static str,
    pub(crate) folder: TempDir,
    /// The first of three.
    pub(crate) port: u16,
    process: Option<Child>,
    _alone: MutexGuard<'static, ()>,
}

impl Server {
    /// One that does not run yet; none where the tests are not to have one.
    pub(crate) fn new(engine: &'static str) -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        static NEXT: AtomicU16 = AtomicU16::new(0);
        if !is_wanted(engine) {
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // Below those that the system gives out by itself. One that was just used is not free for a minute.
        let process = u16::try_from(std::process::id() % 1_000).expect("small");
        let first = 20_000 + process * 10 + NEXT.fetch_add(1, Ordering::Relaxed) * 3;
        let mut ports = (first..32_000).step_by(10);
        let is_free = |port: &u16| {
            let mut all = *port..*port + 3;
            all.all(|it| TcpListener::bind(("127.0.0.1", it)).is_ok())
        };
        Some(Self {
            engine,
            folder: tempfile::tempdir().expect("a folder"),
            port: ports.find(is_free).expect("a port"),
            process: None,
            _alone: alone,
        })
    }

    /// Starts it, and waits until it is ready. After a kill its ports may be free only a little later.
    pub(crate) fn run(&mut self) {
        let is_ready = (0..10).any(|_| self.try_to_run());
        assert!(is_ready, "{} does not start", self.engine);
    }

    fn try_to_run(&mut self) -> bool {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines/up");
        let mut process = Command::new(script)
            .arg(self.engine)
            .arg(self.folder.path())
            .arg(self.port.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("it starts");
        let out = process.stdout.take().expect("it is piped");
        self.process = Some(process);
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        let is_ready = lines.any(|it| it.starts_with("ready "));
        if !is_ready {
            self.kill();
        }
        is_ready
    }

    /// Ends it at once, and all that it was about to do.
    pub(crate) fn kill(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let group = format!("-{}", process.id());
        // If all of it has ended there is nothing to kill.
        let killed = Command::new("kill").args(["-KILL", "--", &group]).output();
        killed.expect("there is a kill");
        process.wait().expect("it ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
