//! How fast the masker of job logs is, beside sed with the same values and a plain copy.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use warmstart_gitlab::mask::{Masker, Masks};

use crate::measure::{Whose, cpu};

/// Bytes of each text.
const SIZE: u32 = 32 << 20;
/// Docker brings the output of a job in pieces of this size.
const PIECE: usize = 32 << 10;
/// Of so many rounds the best counts.
const ROUNDS: usize = 5;
/// In-process work passes over its text so often in a round: the kernel's clock for it moves every few milliseconds.
const PASSES: u32 = 8;

/// Prints what the masker does with each kind of text.
pub(crate) fn run() -> Result<()> {
    let values = values();
    let directory = tempfile::tempdir().context("make a directory")?;
    let texts = [("build log", build_log(&values)), ("base64", base64()), ("near misses", near_misses(&values))];
    say("MB/s of one core's time, 20 masked values", ["masker", "copy", "sed"]);
    for (name, text) in texts {
        let file = directory.path().join("text");
        std::fs::write(&file, &text).with_context(|| format!("write {}", file.display()))?;
        let pace = |seconds: f64| format!("{:.0}", f64::from(SIZE) / 1e6 / seconds);
        let masker = best(|| in_process(|| mask(&values, &text)))?;
        let copy = best(|| in_process(|| copy(&text)))?;
        let sed = best(|| sed(&values, &file))?;
        say(name, [pace(masker), pace(copy), pace(sed)].each_ref().map(String::as_str));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the figures are the answer")]
fn say(name: &str, figures: [&str; 3]) {
    let [masker, copy, sed] = figures;
    println!("{name:<42}{masker:>8}{copy:>8}{sed:>8}");
}

fn best(round: impl Fn() -> Result<f64>) -> Result<f64> {
    let rounds: Result<Vec<f64>> = (0..ROUNDS).map(|_| round()).collect();
    Ok(rounds?.into_iter().fold(f64::INFINITY, f64::min))
}

/// Seconds that this thread has on a processor for one pass.
fn in_process(work: impl Fn() -> io::Result<()>) -> Result<f64> {
    let before = on_processor()?;
    (0..PASSES).try_for_each(|_| work()).context("mask")?;
    Ok((on_processor()? - before) / f64::from(PASSES))
}

fn on_processor() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("read this thread's time")?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse().context("read this thread's time")?;
    Ok(nanoseconds / 1e9)
}

fn mask(values: &[String], text: &[u8]) -> io::Result<()> {
    let mut masker = Masker::new(Copied::default(), &Masks::new(values, [""; 0]));
    text.chunks(PIECE).try_for_each(|piece| masker.write_all(piece))?;
    masker.finish().map(drop)
}

fn copy(text: &[u8]) -> io::Result<()> {
    let mut copied = Copied::default();
    text.chunks(PIECE).try_for_each(|piece| copied.write_all(piece))
}

/// Keeps the last piece: as cheap as a place for it can be.
#[derive(Default)]
struct Copied(Vec<u8>);

impl Write for Copied {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.clear();
        self.0.extend_from_slice(bytes);
        Ok(std::hint::black_box(&self.0).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Replaces the values, and nothing else that the masker looks for.
fn sed(values: &[String], file: &Path) -> Result<f64> {
    let before = cpu("/proc/self/stat", Whose::Children)?;
    let expressions = values.iter().map(|value| format!("-es/{value}/[MASKED]/g"));
    let mut command = Command::new("sed");
    command.args(expressions).env("LC_ALL", "C").stdin(File::open(file)?).stdout(Stdio::null());
    let status = command.status().context("start sed")?;
    ensure!(status.success(), "sed: {status}");
    Ok(cpu("/proc/self/stat", Whose::Children)? - before)
}

/// The same numbers each time, none of them like the next.
fn numbers() -> impl Iterator<Item = u64> {
    std::iter::successors(Some(0x9e37_79b9_7f4a_7c15_u64), |&last| {
        let next = last ^ (last << 13);
        let next = next ^ (next >> 7);
        Some(next ^ (next << 17))
    })
}

fn letters() -> impl Iterator<Item = u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    numbers().map(|number| LETTERS[(number >> 58) as usize])
}

/// What is secret in a usual project: passwords and tokens of 12 to 50 letters.
fn values() -> Vec<String> {
    let mut letters = letters().map(char::from);
    (0..20).map(|number| letters.by_ref().take(12 + number * 2).collect()).collect()
}

fn filled(mut line: impl FnMut(&mut Vec<u8>) -> io::Result<()>) -> Vec<u8> {
    let size = SIZE as usize;
    let mut text = Vec::with_capacity(size + 4096);
    while text.len() < size {
        line(&mut text).expect("a Vec takes all");
    }
    text.truncate(size);
    text
}

/// A compiler's output with a download and a secret now and then.
fn build_log(values: &[String]) -> Vec<u8> {
    let mut numbers = numbers();
    filled(|text| {
        let number = numbers.next().unwrap_or_default();
        match number % 200 {
            0 => writeln!(text, "login with {} as ci", values[(number >> 32) as usize % values.len()]),
            1..10 => writeln!(text, "GET https://files.example.com/p/{number:x}?page=2&per_page=100&sort=name"),
            10..30 => {
                writeln!(text, "\x1b[0;33mwarning\x1b[0m: unused variable `glue_{number}` --> src/graph/global.rs:7")
            }
            _ => writeln!(
                text,
                "[{:3}%] Building CXX object src/engine/CMakeFiles/core.dir/unit_{number}.cpp.o",
                number % 100
            ),
        }
    })
}

fn base64() -> Vec<u8> {
    let mut letters = letters();
    filled(|text| {
        text.extend(letters.by_ref().take(76));
        writeln!(text)
    })
}

/// Beginnings of everything that is looked for.
fn near_misses(values: &[String]) -> Vec<u8> {
    let mut numbers = numbers();
    filled(|text| {
        let number = (numbers.next().unwrap_or_default() >> 32) as usize;
        let value = &values[number % values.len()];
        write!(text, "{}?private=&gl&&glp glpat gl-{} ?x-amz&", &value[..8], &value[1..])
    })
}
