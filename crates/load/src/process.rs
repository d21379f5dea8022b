//! What Linux tells of the server's process.

use std::fs;
use std::time::Duration;

use crate::error::LoadError;

/// Length of one of the kernel's ticks in these files (`USER_HZ`, 100 a second on every Linux there is).
const TICK: Duration = Duration::from_millis(10);

/// A process on this machine.
#[derive(Clone, Copy, Debug)]
pub struct ServerProcess {
    pid: u32,
}

impl ServerProcess {
    /// An error when there is no such process, or no `/proc`.
    pub fn new(pid: u32) -> Result<Self, LoadError> {
        let process = Self { pid };
        process.busy()?;
        process.resident()?;
        Ok(process)
    }

    /// Processor time it has spent so far, in user space and in the kernel.
    pub fn busy(&self) -> Result<Duration, LoadError> {
        let stat = self.read("stat")?;
        ticks(&stat)
            .map(|ticks| TICK * u32::try_from(ticks).unwrap_or(u32::MAX))
            .ok_or_else(|| self.fail("its times cannot be read"))
    }

    /// Its resident memory in bytes.
    pub fn resident(&self) -> Result<u64, LoadError> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.map(|kib| kib * 1024)
            .ok_or_else(|| self.fail("its memory cannot be read"))
    }

    fn read(&self, file: &str) -> Result<String, LoadError> {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid))
            .map_err(|error| self.fail(&error.to_string()))
    }

    fn fail(&self, problem: &str) -> LoadError {
        LoadError::Process {
            pid: self.pid,
            problem: problem.to_owned(),
        }
    }
}

/// Own ticks of a process (proc(5): fields 14 and 15). The name in field 2 may hold anything, but it ends with the last
/// bracket.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    Some(user + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        assert_eq!(
            ticks("7 (a ) b (c) S 3 7 7 0 -1 4194304 10 0 0 0 5 6 7 8 20 0 1"),
            Some(11)
        );
        assert_eq!(ticks("nonsense"), None);
        let own = ServerProcess::new(std::process::id()).unwrap();
        assert!(own.resident().unwrap() > 100_000);
    }

    #[test]
    fn a_process_that_is_not_there_is_refused_by_its_number() {
        let error = ServerProcess::new(u32::MAX).unwrap_err().to_string();
        assert!(error.starts_with("--server-pid 4294967295: "), "{error}");
    }
}
