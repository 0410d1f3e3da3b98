//! Threads for everything that is not media: the control listener, the store and the relay, which may use what time of
//! the processors media leaves and not more.

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// How much the threads here give way (`nice(2)`): beside a busy media thread of the usual priority one gets about a tenth
/// of a core. Not more than that, because a deactivation has to pass here too, and must not wait for media to rest; with
/// 19, one in seventy, it would.
const NICENESS: i32 = 10;

/// A runtime of its own; its tasks end when it is dropped.
#[derive(Debug)]
pub(super) struct Aside(Option<Runtime>);

impl Aside {
    /// Starts `threads` worker threads. Those that block have the same priority; so have those of SQLite's connections that
    /// are opened here, and not those that the local feed opens.
    ///
    /// # Errors
    ///
    /// When the system gives no threads.
    pub(super) fn start(threads: usize) -> anyhow::Result<Aside> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("control")
            .on_thread_start(give_way)
            .enable_all()
            .build();
        Ok(Aside(Some(runtime.context("cannot start threads for the control plane")?)))
    }

    /// Does `work` here. What that starts stays here, sockets that it opens included.
    ///
    /// # Errors
    ///
    /// When it panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> anyhow::Result<T> {
        self.spawn(work).await.context("the control plane cannot be started")
    }

    /// Begins `work` here.
    pub(super) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.0.as_ref().expect("it is taken when dropped only").spawn(work)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Without waiting, which a task must not do.
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// Lowers the priority of the current thread; where the system does not let it, things go on as they are.
fn give_way() {
    // Elsewhere this would be the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        log::debug!("control: the priority of a thread stays as it is: {error}");
    }
}
