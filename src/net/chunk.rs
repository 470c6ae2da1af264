//! HTTP/1.1 chunk framing, the only bytes that a driver adds to a stream.

use bytes::Bytes;
use std::io::Write;

pub(super) const LAST: Bytes = Bytes::from_static(b"0\r\n\r\n");

/// Frames `data` as one chunk, with the same bytes as hyper.
pub(super) fn chunk(data: &[u8]) -> Bytes {
    let mut chunk = Vec::with_capacity(data.len() + 20);
    // Writing to a `Vec` does not fail.
    let _ = write!(chunk, "{:X}\r\n", data.len());
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    chunk.into()
}

/// Chunks of the frames that were sent last, shared by the sockets that receive the same frame.
#[derive(Debug, Default)]
pub(super) struct Chunks(Vec<(Bytes, Bytes)>);

/// Capacity of the cache. The readers of a channel are at few different positions at a time.
const KEPT: usize = 8;

impl Chunks {
    /// Returns the chunk of `frame`. Frames that share their bytes share their chunk.
    pub(super) fn get(&mut self, frame: Bytes) -> Bytes {
        let same = |(known, _): &&(Bytes, Bytes)| {
            known.as_ptr() == frame.as_ptr() && known.len() == frame.len()
        };
        if let Some((_, chunk)) = self.0.iter().find(same) {
            return chunk.clone();
        }
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        let chunk = chunk(&frame);
        // Keeping the frame alive keeps its address from being reused.
        self.0.push((frame, chunk.clone()));
        chunk
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_its_length_in_hexadecimal_and_its_data() {
        let long = [&b"100\r\n"[..], &[b'x'; 256], b"\r\n"].concat();
        for (data, expected) in [
            (&b":\n\n"[..], &b"3\r\n:\n\n\r\n"[..]),
            (&[b'y'; 12], b"C\r\nyyyyyyyyyyyy\r\n"),
            (&[b'x'; 256], &long),
        ] {
            assert_eq!(chunk(data), expected);
        }
    }

    #[test]
    fn frames_with_the_same_bytes_in_memory_share_a_chunk() {
        let (one, two) = (Bytes::from("data: 1\n\n"), Bytes::from("data: 2\n\n"));
        let mut chunks = Chunks::default();
        let first = chunks.get(one.clone());
        assert_eq!(chunks.get(two), "9\r\ndata: 2\n\n\r\n");
        assert_eq!(chunks.get(one.clone()).as_ptr(), first.as_ptr());
        assert_eq!(chunks.get(one.slice(..6)), "6\r\ndata: \r\n");
    }
}
