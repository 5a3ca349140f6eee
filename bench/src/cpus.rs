//! Which CPUs a thread runs on.

use std::{fmt, io, str::FromStr};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// CPUs by number, as in `0,2-3`. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuList(Vec<usize>);

impl CpuList {
    /// The CPUs the calling thread may run on.
    pub fn available() -> io::Result<Self> {
        let set = sched_getaffinity(None)?;
        Ok(Self(
            (0..CpuSet::MAX_CPU)
                .filter(|&cpu| set.is_set(cpu))
                .collect(),
        ))
    }

    /// A list of these; `None` when there are none.
    pub fn new(cpus: impl IntoIterator<Item = usize>) -> Option<Self> {
        let cpus: Vec<usize> = cpus.into_iter().collect();
        (!cpus.is_empty()).then_some(Self(cpus))
    }

    /// The numbers.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// Confines the calling thread, and what it starts from now on, to all of these.
    pub fn confine_to_all(&self) -> io::Result<()> {
        confine(&self.0)
    }

    /// Confines the calling thread to one of these: the `index`th, counted round.
    pub fn pin(&self, index: usize) -> io::Result<()> {
        confine(&[self.0[index % self.0.len()]])
    }
}

fn confine(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| match text.trim().parse::<usize>() {
                Ok(cpu) if cpu < CpuSet::MAX_CPU => Ok(cpu),
                _ => Err(format!(
                    "`{part}` is not a CPU or a range of CPUs, as in 0,2-3"
                )),
            };
            cpus.extend(number(first)?..=number(last)?);
        }
        Self::new(cpus).ok_or_else(|| format!("`{text}` names no CPU"))
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, cpu) in self.0.iter().enumerate() {
            write!(f, "{}{cpu}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read() {
        assert_eq!("0,2-3".parse::<CpuList>().unwrap().as_slice(), [0, 2, 3]);
        assert_eq!("0,2-3".parse::<CpuList>().unwrap().to_string(), "0,2,3");
        for bad in ["", "a", "3-2", "1,", "99999"] {
            assert!(bad.parse::<CpuList>().is_err(), "{bad}");
        }
    }
}
