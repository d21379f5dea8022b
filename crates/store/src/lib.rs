//! The one store interface; SQLite behind it.
