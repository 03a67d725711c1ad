//! Helpers, and calling them: the only place where a borrowed closure goes to another thread, which safe Rust can do only
//! for threads that are started for it (`std::thread::scope`), tens of microseconds too late.

// Each says why it is sound.
#![allow(unsafe_code)]

use std::any::Any;
use std::hint::spin_loop;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use super::{MOST_THREADS, lock};

/// Waiting without sleep, after which the system is asked to wake us: a little more than the steps that a helper has no
/// part in take, and about what waking costs.
const AWAKE: Duration = Duration::from_micros(20);

/// Looks between two looks at the clock.
const LOOKS: usize = 16;

/// A thread that does what others ask it to.
pub(super) struct Helper {
    post: Arc<Post>,
    /// Whether somebody has it.
    is_taken: AtomicBool,
    /// `None` when it has been told to end.
    thread: Option<JoinHandle<()>>,
}

/// Between a helper and whoever has it.
#[derive(Default)]
struct Post {
    call: Mutex<Option<Call>>,
    /// Whether there is a call, to be seen without the lock.
    is_called: AtomicBool,
    /// From when the helper takes a call, under the lock, until it has no use for it any more.
    is_at_work: AtomicBool,
    is_over: AtomicBool,
    /// What the work panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Work, and who waits for its end.
struct Call {
    work: Work,
    place: usize,
    caller: Thread,
}

/// The caller's closure. Valid until the round ends.
struct Work(*const (dyn Fn(usize) + Sync));

// SAFETY: what it points to is `Sync`, and lives until the round has ended (see `Round::with`).
unsafe impl Send for Work {}

impl Helper {
    pub fn start(number: usize) -> io::Result<Self> {
        let post = Arc::new(Post::default());
        let its_own = Arc::clone(&post);
        let thread = thread::Builder::new().name(format!("infer-{number}")).spawn(move || its_own.serve())?;
        Ok(Self { post, is_taken: AtomicBool::new(false), thread: Some(thread) })
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    fn call(&self, work: Work, place: usize) {
        *lock(&self.post.call) = Some(Call { work, place, caller: thread::current() });
        self.post.is_called.store(true, Ordering::Release);
        self.wake();
    }

    /// Takes the call back, or waits until it is done; then nothing of this helper's knows the work any more. Gives what it
    /// panicked with.
    fn recall(&self) -> Option<Box<dyn Any + Send>> {
        let not_begun = lock(&self.post.call).take();
        if not_begun.is_some() {
            self.post.is_called.store(false, Ordering::Release);
            return None;
        }
        let is_done = || !self.post.is_at_work.load(Ordering::Acquire);
        if !stays_awake(is_done) {
            while !is_done() {
                thread::park();
            }
        }
        lock(&self.post.panic).take()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.post.is_over.store(true, Ordering::Release);
        self.wake();
        // Its own panics were caught; there is nobody to tell of others.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Post {
    /// What the helper's thread does until it is over.
    fn serve(&self) {
        let has_news = || self.is_called.load(Ordering::Acquire) || self.is_over.load(Ordering::Acquire);
        loop {
            if !stays_awake(has_news) {
                while !has_news() {
                    thread::park();
                }
            }
            if self.is_over.load(Ordering::Acquire) {
                return;
            }
            if let Some(Call { work: Work(work), place, caller }) = self.take() {
                // SAFETY: the call was still there, so that the round has not ended; it does not end before
                // `is_at_work` is false again, and until then what `work` points to lives (see `Round::with`).
                let work = unsafe { &*work };
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(place))) {
                    *lock(&self.panic) = Some(panic);
                }
                self.is_at_work.store(false, Ordering::Release);
                caller.unpark();
            }
        }
    }

    fn take(&self) -> Option<Call> {
        let mut call = lock(&self.call);
        self.is_called.store(false, Ordering::Release);
        let call = call.take()?;
        self.is_at_work.store(true, Ordering::Release);
        Some(call)
    }
}

/// Looks a while without sleeping; gives whether `is_ready` came true.
fn stays_awake(is_ready: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    loop {
        for _ in 0..LOOKS {
            if is_ready() {
                return true;
            }
            spin_loop();
        }
        if started.elapsed() > AWAKE {
            return false;
        }
    }
}

/// The helpers that were called for one piece of work. They are let go when it is dropped, also by a panic.
pub(super) struct Round<'a> {
    helpers: [Option<&'a Helper>; MOST_THREADS],
    panic: Option<Box<dyn Any + Send>>,
}

impl<'a> Round<'a> {
    /// Runs `work` here, as place 0, and on up to `wanted` of the helpers that nobody has. Comes back when all are done.
    ///
    /// # Panics
    /// Where `work` does.
    pub fn with(helpers: &'a [Helper], wanted: usize, work: &(dyn Fn(usize) + Sync)) {
        let mut round = Round { helpers: [None; MOST_THREADS], panic: None };
        let mut free = helpers.iter().filter(|helper| !helper.is_taken.swap(true, Ordering::Acquire));
        for ((slot, place), helper) in round.helpers.iter_mut().zip(1..).zip(free.by_ref().take(wanted)) {
            // Only the lifetime is forgotten: the round, which is dropped before this function ends however it does, takes
            // the call back or waits until the helper has done with it.
            let work: *const (dyn Fn(usize) + Sync + '_) = work;
            // SAFETY: both are the same fat pointer.
            let work = unsafe {
                std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync)>(work)
            };
            helper.call(Work(work), place);
            *slot = Some(helper);
        }
        work(0);
        round.end();
        if let Some(panic) = round.panic.take() {
            resume_unwind(panic);
        }
    }

    fn end(&mut self) {
        for helper in self.helpers.iter_mut().map_while(Option::take) {
            let panic = helper.recall();
            self.panic = self.panic.take().or(panic);
            helper.is_taken.store(false, Ordering::Release);
        }
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        self.end();
    }
}
