/* ktls.h - what OpenSSL and Linux agree on for encryption by the kernel (kTLS), of what is sent. */
#pragma once

#include <stdbool.h>

/* What OpenSSL asks of the BIO that it writes to; openssl/bio.h describes them all and has public names for two. They
 * are answered by a socket BIO: what they carry is OpenSSL's secret. */
#define KTLS_BEGIN 72       /* number: 1 for sending, 0 for receiving; > 0: the kernel has the keys from now on */
#define KTLS_RECORD_TYPE 74 /* the next write is a record of type `number`, not application data */
#define KTLS_CLEAR_TYPE 75

bool ktls_is_offered(void); /* by this kernel; asks it, which may make it load a module */

/* Makes a connected TCP socket ready to be given keys. False: this one cannot. */
bool ktls_prepare(int fd);
