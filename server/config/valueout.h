/* valueout.h - one setting's value as text: as gunicorn prints it, and as JSON. Serves settings.c alone. */
#pragma once

struct buf;
struct json;
struct setting;
union value;

int value_print(const union value *v, const struct setting *row, struct buf *out); /* 0 or -ENOMEM */
void value_json(const union value *v, const struct setting *row, struct json *j);
