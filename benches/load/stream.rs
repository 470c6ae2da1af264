//! An incremental parser of a response: its head, its chunks, and the events in them.

use memchr::memmem;

/// The parser's state for one response.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    at: At,
    /// The beginning of an incomplete head or event.
    begun: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Head,
    /// In the line with a chunk's size.
    Size(usize),
    /// Number of bytes before the end of a chunk.
    Data(usize),
    /// Number of bytes before the size of the next chunk.
    Break(usize),
    End,
}

impl Stream {
    /// Whether the server has ended the response properly.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// Parses bytes from the socket, and passes each complete event to `each`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], each: &mut impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            bytes = match self.at {
                At::Head => self.head(bytes),
                At::Size(size) => self.size(size, bytes),
                At::Data(left) => {
                    let (data, rest) = bytes.split_at(left.min(bytes.len()));
                    self.events(data, each);
                    self.at = match left - data.len() {
                        0 => At::Break(2),
                        left => At::Data(left),
                    };
                    rest
                }
                At::Break(left) => {
                    self.at = match left {
                        1 => At::Size(0),
                        _ => At::Break(left - 1),
                    };
                    &bytes[1..]
                }
                At::End => return,
            };
        }
    }

    fn head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let before = self.begun.len();
        self.begun.extend_from_slice(bytes);
        let Some(end) = memmem::find(&self.begun, b"\r\n\r\n") else {
            return &[];
        };
        assert!(
            self.begun.starts_with(b"HTTP/1.1 200"),
            "no stream: {}",
            String::from_utf8_lossy(&self.begun)
        );
        self.begun.clear();
        self.at = At::Size(0);
        &bytes[end + 4 - before..]
    }

    fn size<'a>(&mut self, size: usize, bytes: &'a [u8]) -> &'a [u8] {
        self.at = match bytes[0] {
            b'\r' => At::Size(size),
            b'\n' if size == 0 => At::End,
            b'\n' => At::Data(size),
            digit => {
                let digit = char::from(digit).to_digit(16).expect("a chunk's size");
                At::Size(size * 16 + digit as usize)
            }
        };
        &bytes[1..]
    }

    fn events(&mut self, mut data: &[u8], each: &mut impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            let before = self.begun.len();
            self.begun.extend_from_slice(data);
            // The first of the two line feeds may be the last byte of the previous read.
            let from = before.saturating_sub(1);
            let Some(end) = memmem::find(&self.begun[from..], b"\n\n") else {
                return;
            };
            each(&self.begun[..from + end]);
            self.begun.clear();
            data = &data[from + end + 2 - before..];
        }
        while let Some(end) = memmem::find(data, b"\n\n") {
            each(&data[..end]);
            data = &data[end + 2..];
        }
        self.begun.extend_from_slice(data);
    }
}
