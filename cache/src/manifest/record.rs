//! What the tables of a manifest say, as it is stored.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::digest::Digest;

/// An object of frames, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub(crate) struct Pack {
    pub(crate) digest: Digest,
    pub(crate) size: u32,
}

/// A run of chunks that is compressed as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Frame {
    /// The pack's place in [`super::Manifest::packs`].
    pub(crate) pack: u32,
    pub(crate) offset: u32,
    /// Bytes in the pack.
    pub(crate) size: u32,
    /// Bytes once decompressed.
    pub(crate) raw: u32,
}

/// One path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Record<'m> {
    /// Relative, components separated by one `/`, bytes as the file system has them.
    pub(crate) path: &'m [u8],
    /// The twelve lower bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970 and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Extended attributes, name and value, sorted by name. Only trees of the agent's own choosing have any.
    #[serde(borrow, deserialize_with = "few")]
    pub(crate) attributes: Vec<Attribute<'m>>,
    #[serde(borrow)]
    pub(crate) node: Node<'m>,
}

/// Name and value of an extended attribute.
pub(crate) type Attribute<'m> = (&'m [u8], &'m [u8]);

/// The most attributes of one path.
pub(crate) const MAX_ATTRIBUTES: usize = 256;

/// Takes no more attributes than a path may have: in memory each is many times what it may be in the stream.
fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Attribute<'de>>, D::Error> {
    struct Few;
    impl<'de> de::Visitor<'de> for Few {
        type Value = Vec<Attribute<'de>>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "at most {MAX_ATTRIBUTES} attributes")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut taken = Vec::new();
            while let Some(item) = items.next_element()? {
                if taken.len() == MAX_ATTRIBUTES {
                    return Err(de::Error::invalid_length(MAX_ATTRIBUTES + 1, &self));
                }
                taken.push(item);
            }
            Ok(taken)
        }
    }
    deserializer.deserialize_seq(Few)
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Node<'m> {
    Directory,
    /// The chunks in order fill what the holes leave.
    File {
        size: u64,
        chunks: Cow<'m, [Chunk]>,
        holes: Cow<'m, [Hole]>,
    },
    Symlink {
        target: &'m [u8],
    },
    /// Another name of the file at an earlier path.
    Link {
        to: &'m [u8],
    },
    /// A character device; only 0:0, which marks what an overlay file system hides.
    Device {
        major: u32,
        minor: u32,
    },
}

/// A piece of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Chunk {
    /// The frame's place in [`super::Manifest::frames`].
    pub(crate) frame: u32,
    /// Where it begins in the decompressed frame.
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) digest: Digest,
}

/// Zeros of a file that take no place on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Hole {
    /// Where it begins in the file.
    pub(crate) start: u64,
    pub(crate) length: u64,
}
