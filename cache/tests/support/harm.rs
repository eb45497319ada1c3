//! Harm to the objects of a store, of every kind and at every position.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use bytes::Bytes;
use warmstart_cache::store::{Memory, Store as _, list_all};

use super::block_on;

/// What happens to an object.
#[derive(Clone, Copy, Debug)]
pub enum Harm {
    Missing,
    /// One bit is the other way.
    Flip(usize),
    /// Only so many bytes are left.
    Cut(usize),
    /// The content comes twice.
    Twice,
    /// The content is that of another object.
    Exchanged(usize),
}

impl Harm {
    /// Does it in a store that has the objects.
    pub async fn put(self, objects: &Objects, at: usize, store: &Memory) {
        let (key, content) = &objects.0[at];
        let harmed: Bytes = match self {
            Self::Missing => return store.delete(key).await.expect("delete"),
            Self::Flip(bit) => flip(content, bit),
            Self::Cut(length) => content.slice(..length),
            Self::Twice => [&content[..], &content[..]].concat().into(),
            Self::Exchanged(other) => objects.0[other].1.clone(),
        };
        store.put(key, harmed).await.expect("put");
    }
}

fn flip(content: &Bytes, bit: usize) -> Bytes {
    let mut content = content.to_vec();
    content[bit / 8] ^= 1 << (bit % 8);
    content.into()
}

/// Every harm to the object at a place.
pub fn every_harm(objects: &Objects, at: usize) -> impl Iterator<Item = Harm> + use<> {
    let (length, count) = (objects.0[at].1.len(), objects.0.len());
    let exchanged = (0..count).filter(move |other| *other != at).map(Harm::Exchanged);
    let flips = (0..length * 8).map(Harm::Flip);
    [Harm::Missing, Harm::Twice].into_iter().chain(flips).chain((0..length).map(Harm::Cut)).chain(exchanged)
}

/// Keys and contents.
#[derive(Clone, Debug, Default)]
pub struct Objects(pub Vec<(String, Bytes)>);

impl Objects {
    pub fn of(store: &Memory) -> Self {
        block_on(async {
            let mut objects = Vec::new();
            for entry in list_all(store, "").await.expect("list") {
                let object = store.get(&entry.key, None).await.expect("get").expect("it was listed");
                objects.push((entry.key, object.bytes));
            }
            Self(objects)
        })
    }

    /// Adds those that are new behind those that are there.
    pub fn add(&mut self, more: Self) {
        let new = more.0.into_iter().filter(|(key, _)| !self.0.iter().any(|(known, _)| known == key));
        let new: Vec<_> = new.collect();
        self.0.extend(new);
    }

    /// Gives a store with just these.
    pub async fn store(&self) -> Memory {
        let store = Memory::new();
        for (key, content) in &self.0 {
            store.put(key, content.clone()).await.expect("put");
        }
        store
    }
}

/// Checks every case, on all cores, each thread at a bench of its own.
pub fn each<T: Sync, B>(cases: &[T], bench: impl Fn() -> B + Sync, check: impl AsyncFn(&B, &T) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        let bench = bench();
        block_on(async {
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                check(&bench, case).await;
            }
        });
    };
    on_all_cores(work);
}

/// Checks every case, on all cores.
pub fn each_of<T: Sync>(cases: &[T], check: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    on_all_cores(|| {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            check(case);
        }
    });
}

fn on_all_cores(work: impl Fn() + Sync) {
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(2, usize::from)).for_each(|_| drop(scope.spawn(&work)));
    });
}
