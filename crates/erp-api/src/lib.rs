//! The ERP's wire types and client.
