//! The intermediate representation: graphs, their dialects, their text, the program file.
