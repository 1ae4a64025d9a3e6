/*
 * Doors are plain HTTP, as README says: TLS is a proxy's. libmicrohttpd begins GnuTLS all the same when
 * it is loaded, and GnuTLS itself: a millisecond at start, and 0.9 MB resident of what is never used.
 * The names below are GnuTLS's own, and what the program defines is found first.
 *
 * _gnutls_global_init_skip is what GnuTLS asks a program that begins it by itself
 * (GNUTLS_SKIP_GLOBAL_INIT, manual, "Initialization"). gnutls_global_init is what libmicrohttpd calls
 * then. Where it is built without TLS nobody calls either. An exporter's TLS is gRPC's, which has its own.
 */

/* Nothing declares them here: GnuTLS's headers are no dependency. */
__attribute__((visibility("default"))) int _gnutls_global_init_skip(void);
__attribute__((visibility("default"))) int gnutls_global_init(void);
__attribute__((visibility("default"))) void gnutls_global_deinit(void);

int _gnutls_global_init_skip(void)
{
    return 1;
}

int gnutls_global_init(void)
{
    return 0;
}

void gnutls_global_deinit(void)
{
}
