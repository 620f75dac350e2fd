//! Meta's wire types, the error table and the client of the WhatsApp Cloud API.
