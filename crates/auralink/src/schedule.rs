//! How the operating system schedules a thread.

use std::io;

/// From now on this thread waits for its turn instead of interrupting whoever runs: Linux's `SCHED_BATCH`, see
/// sched(7). Its share of the processor and its niceness stay.
#[cfg(target_os = "linux")]
pub fn never_interrupt() -> io::Result<()> {
    let normal = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameters outlive the call, which only reads them; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &normal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Other systems are left as they are.
#[cfg(not(target_os = "linux"))]
pub fn never_interrupt() -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_told_to_wait_for_its_turn() {
        std::thread::spawn(|| {
            never_interrupt().expect("needs no privilege");
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux has it");
            // proc(5): policy is field 41, counted behind the name, which may hold anything.
            let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
            let policy = fields.split_whitespace().nth(38);
            assert_eq!(policy, Some(libc::SCHED_BATCH.to_string().as_str()));
        })
        .join()
        .expect("the thread ends");
    }
}
