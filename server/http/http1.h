/* http1.h - HTTP/1.0 and HTTP/1.1 over a connection: llhttp's events into an exchange; its response into bytes.
 * RFC 9112. One exchange at a time a connection: pipelined requests wait as bytes. */
#pragma once

struct protocol;

extern const struct protocol http1_protocol; /* its context is a struct http */
