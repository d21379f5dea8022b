//! Processor time of this process and of all that it has started, from Linux's `/proc`: what a figure costs, on a
//! machine that others use as well.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Length of one of the kernel's ticks in these files (`USER_HZ`, 100 a second on every Linux there is).
const TICK: Duration = Duration::from_millis(10);

/// Time spent so far, in user space and in the kernel; nothing where there is no `/proc`.
pub fn spent() -> Duration {
    let processes: HashMap<u32, (u32, u64)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, parse(&stat)?))
        })
        .collect();
    let own = std::process::id();
    let is_ours = |mut pid: u32| {
        // A process that is its own ancestor would be a kernel's error; the count ends the walk all the same.
        for _ in 0..processes.len() {
            if pid == own {
                return true;
            }
            let Some((parent, _)) = processes.get(&pid) else {
                return false;
            };
            pid = *parent;
        }
        false
    };
    let ours = processes.iter().filter(|(pid, _)| is_ours(**pid));
    let ticks: u64 = ours.map(|(_, (_, ticks))| ticks).sum();
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// Time spent so far by one process, all of its threads together; nothing where there is no `/proc`.
pub fn of(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let ticks = parse(&stat).map_or(0, |(_, ticks)| ticks);
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// Parent, and ticks of the process and of its children that have ended (proc(5): fields 4 and 14 to 17). The name in
/// field 2 may hold anything, but it ends with the last bracket.
fn parse(stat: &str) -> Option<(u32, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields
        .get(11..15)?
        .iter()
        .filter_map(|field| field.parse::<u64>().ok());
    Some((fields.get(1)?.parse().ok()?, ticks.sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        let stat = "7 (a ) b (c) S 3 7 7 0 -1 4194304 10 0 0 0 5 6 7 8 20 0 1";
        assert_eq!(parse(stat), Some((3, 26)));
        assert_eq!(parse("nonsense"), None);
    }
}
