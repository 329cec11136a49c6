//! Threads for batches: a pool of which the caller is one, whose others stay awake for a moment between pieces of work.
//!
//! ```text
//! caller    lay out │ run ══════════ │ update ═══ │ read │ lay out │ run ══════════
//! thread 2  (awake)   ══════════       ═══          (awake)          ══════════      (awake, then asleep)
//! ```
//!
//! To wake a thread takes some tens of microseconds, as long as a cell's steps for a single example. One that finds
//! nothing to do therefore looks again for so long, and no longer: a pool that is not used takes no time.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder, Yield};

/// How long a thread without work stays awake.
const AWAKE: Duration = Duration::from_micros(200);

thread_local! {
    /// The pool that this thread is part of, and the number of threads that was asked for.
    static OWN: RefCell<Option<(usize, Arc<ThreadPool>)>> = const { RefCell::new(None) };
    /// Whether this thread looks for work.
    static LOOKING: Cell<bool> = const { Cell::new(false) };
}

/// A pool of so many threads; 0 means one for each core. The calling thread is one of several unless it belongs to another
/// pool already; who asks again for as many gets the same pool.
///
/// # Errors
/// The system gives no threads.
pub fn pool(count: usize) -> Result<Arc<ThreadPool>, ThreadPoolBuildError> {
    let builder = || ThreadPoolBuilder::new().num_threads(count);
    // A thread alone would wait for itself if another one called.
    if count == 1 || rayon::current_thread_index().is_some() && OWN.with_borrow(Option::is_none) {
        return Ok(Arc::new(builder().build()?));
    }
    OWN.with_borrow_mut(|own| match own {
        Some((threads, pool)) if *threads == count => Ok(Arc::clone(pool)),
        Some(_) => Ok(Arc::new(builder().build()?)),
        None => {
            let pool = Arc::new(builder().use_current_thread().build()?);
            *own = Some((count, Arc::clone(&pool)));
            Ok(pool)
        }
    })
}

/// Has the calling thread of a pool, if it is not the first, look for work for a while when it has done what it does now.
pub fn stay_awake() {
    if rayon::current_thread_index().is_some_and(|index| index > 0) && !LOOKING.get() {
        rayon::spawn(look_for_work);
    }
}

/// Does what work there is until there has been none for a while. Not on the first thread, which may be the caller's, come by
/// this while it waited for others.
fn look_for_work() {
    if rayon::current_thread_index() == Some(0) || LOOKING.replace(true) {
        return;
    }
    let mut since = Instant::now();
    while since.elapsed() < AWAKE {
        match rayon::yield_now() {
            Some(Yield::Executed) => since = Instant::now(),
            Some(Yield::Idle) => std::hint::spin_loop(),
            None => break,
        }
    }
    LOOKING.set(false);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_caller_is_one_of_the_threads_and_gets_its_pool_again() {
        let own = pool(3).unwrap();
        assert_eq!((own.current_num_threads(), own.current_thread_index()), (3, Some(0)));
        assert!(Arc::ptr_eq(&own, &pool(3).unwrap()));
        let other = pool(2).unwrap();
        assert_eq!((other.current_num_threads(), other.current_thread_index()), (2, None));
        assert_eq!(pool(1).unwrap().install(|| 7), 7);
        assert_eq!(other.install(|| own.install(|| 7)), 7);
    }

    #[test]
    fn threads_that_stay_awake_do_work_and_then_sleep() {
        let pool = pool(2).unwrap();
        let done = AtomicUsize::new(0);
        for _ in 0..100 {
            pool.in_place_scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|_| {
                        done.fetch_add(1, Ordering::Relaxed);
                        stay_awake();
                    });
                }
            });
        }
        assert_eq!(done.into_inner(), 400);
        // Nobody looks for work for good.
        std::thread::sleep(100 * AWAKE);
        assert_eq!(pool.broadcast(|_| LOOKING.get()), [false, false]);
    }
}
