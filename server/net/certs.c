/* certs.c - the certificate store: which pairs serve which host names. */
#include "server/net/certs.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/ascii.h"
#include "server/base/buf.h"

#define NAME_MAX_LEN 255

struct name { /* of a host, exact or "*.something" */
    char *text;
    size_t at; /* of a list of names: the pair that has it; in the store: the set that serves it */
};

struct names { /* sorted */
    struct name *list;
    size_t n;
};

struct certs {
    struct certpair *pairs; /* owned */
    size_t n;
    struct certset *sets; /* owned */
    size_t n_sets;
    struct names names; /* owned, each text too; each once */
    char *host;         /* owned; whose set is the first one */
};

/* Choosing */

static int by_name(const void *a, const void *b)
{
    const struct name *m = a, *n = b;
    int order = strcmp(m->text, n->text);
    return order != 0 ? order : (m->at > n->at) - (m->at < n->at);
}

/* A host as certificates name it: in lower case, without the dot of "example.org.". False: it is none. */
static bool normalise(const char *host, char name[NAME_MAX_LEN + 1])
{
    size_t len = strlen(host);
    if (len > 0 && host[len - 1] == '.') {
        len--;
    }
    if (len == 0 || len > NAME_MAX_LEN) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        name[i] = ascii_lower(host[i]);
    }
    name[len] = '\0';
    return true;
}

/* The first entry of that name, or NULL. */
static const struct name *first_of(const struct names *names, const char *text)
{
    size_t low = 0, high = names->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(names->list[middle].text, text) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < names->n && strcmp(names->list[low].text, text) == 0 ? &names->list[low] : NULL;
}

/* The wildcard that covers a name, in `room`; RFC 6125 6.4.3: in place of the whole leftmost label. NULL: none can. */
static const char *wildcard_of(const char *name, char *room, size_t size)
{
    const char *dot = strchr(name, '.');
    if (!dot || dot == name || *name == '*' || snprintf(room, size, "*%s", dot) >= (int)size) {
        return NULL;
    }
    return room;
}

/* Adds the pairs of all entries with that name whose kind of key is not in the set yet, or only by a worse pair. */
static void add_to_set(const struct certs *c, const struct names *all, struct certset *set, const char *text)
{
    const struct name *end = all->list + all->n;
    const struct name *e = text ? first_of(all, text) : NULL;
    for (; e && e < end && strcmp(e->text, text) == 0; e++) {
        size_t i = 0;
        while (i < set->n && c->pairs[set->pair[i]].type != c->pairs[e->at].type) {
            i++;
        }
        if (i == set->n && set->n < CERTS_TYPES) {
            set->pair[set->n++] = e->at;
        } else if (i < set->n && e->at < set->pair[i]) {
            set->pair[i] = e->at;
        }
    }
}

static struct certset set_for(const struct certs *c, const struct names *all, const char *name)
{
    char room[NAME_MAX_LEN + 2];
    struct certset set = {0};
    add_to_set(c, all, &set, name);
    add_to_set(c, all, &set, wildcard_of(name, room, sizeof(room)));
    for (size_t i = 1; i < set.n; i++) { /* in the order of the pairs, so that equal sets look the same */
        for (size_t j = i; j > 0 && set.pair[j - 1] > set.pair[j]; j--) {
            size_t other = set.pair[j];
            set.pair[j] = set.pair[j - 1];
            set.pair[j - 1] = other;
        }
    }
    return set;
}

/* Where the set is in the list; it is added when it is new. 0 or -ENOMEM. */
static int place_set(struct certs *c, const struct certset *set, size_t *at)
{
    for (*at = 0; *at < c->n_sets; ++*at) {
        if (c->sets[*at].n == set->n && memcmp(c->sets[*at].pair, set->pair, set->n * sizeof(set->pair[0])) == 0) {
            return 0;
        }
    }
    struct certset *more = reallocarray(c->sets, c->n_sets + 1, sizeof(*more));
    if (!more) {
        return -ENOMEM;
    }
    c->sets = more;
    more[c->n_sets++] = *set;
    return 0;
}

/* The names of all pairs, a name as often as pairs have it; the texts are the pairs'. The list is the caller's. */
static int list_names(const struct certs *c, struct names *all)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        n += c->pairs[i].n_names;
    }
    all->list = calloc(n + 1, sizeof(*all->list));
    if (!all->list) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < c->n; i++) {
        for (size_t j = 0; j < c->pairs[i].n_names; j++) {
            all->list[all->n++] = (struct name){.text = c->pairs[i].names[j], .at = i};
        }
    }
    qsort(all->list, all->n, sizeof(*all->list), by_name);
    return 0;
}

/* Each name once, with the set that serves it. */
static int make_sets(struct certs *c, const struct names *all)
{
    c->names.list = calloc(all->n + 1, sizeof(*c->names.list));
    if (!c->names.list) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < all->n; i++) {
        if (i > 0 && strcmp(all->list[i].text, all->list[i - 1].text) == 0) {
            continue;
        }
        struct certset set = set_for(c, all, all->list[i].text);
        struct name *name = &c->names.list[c->names.n];
        if (place_set(c, &set, &name->at) < 0 || !(name->text = strdup(all->list[i].text))) {
            return -ENOMEM;
        }
        c->names.n++;
    }
    return 0;
}

static int drop_unused(struct certs *c)
{
    size_t *to = calloc(c->n, sizeof(*to)), n = 0;
    if (!to) {
        return -ENOMEM;
    }
    for (size_t s = 0; s < c->n_sets; s++) {
        for (size_t i = 0; i < c->sets[s].n; i++) {
            to[c->sets[s].pair[i]] = 1;
        }
    }
    for (size_t i = 0; i < c->n; i++) {
        if (to[i]) {
            to[i] = n;
            c->pairs[n++] = c->pairs[i];
        } else {
            certpair_finish(&c->pairs[i]);
        }
    }
    c->n = n;
    for (size_t s = 0; s < c->n_sets; s++) {
        for (size_t i = 0; i < c->sets[s].n; i++) {
            c->sets[s].pair[i] = to[c->sets[s].pair[i]];
        }
    }
    free(to);
    return 0;
}

int certs_create(struct certs **out, struct certpair *pairs, size_t n, const char *host, size_t first)
{
    assert(first < n);
    char name[NAME_MAX_LEN + 1];
    struct names all = {0};
    struct certs *c = calloc(1, sizeof(*c));
    int r = -ENOMEM;
    if (!c) {
        for (size_t i = 0; i < n; i++) {
            certpair_finish(&pairs[i]);
        }
        free(pairs);
        return r;
    }
    c->pairs = pairs;
    c->n = n;
    r = list_names(c, &all);
    if (r == 0) {
        bool covered = host && normalise(host, name) && set_for(c, &all, name).n > 0;
        c->host = strdup(covered ? name : pairs[first].names[0]);
        struct certset front = c->host ? set_for(c, &all, c->host) : (struct certset){0};
        size_t at;
        r = c->host ? place_set(c, &front, &at) : -ENOMEM;
    }
    r = r == 0 ? make_sets(c, &all) : r;
    free(all.list);
    r = r == 0 ? drop_unused(c) : r;
    if (r < 0) {
        certs_destroy(c);
        return r;
    }
    *out = c;
    return 0;
}

void certs_destroy(struct certs *c)
{
    if (!c) {
        return;
    }
    for (size_t i = 0; i < c->n; i++) {
        certpair_finish(&c->pairs[i]);
    }
    for (size_t i = 0; i < c->names.n; i++) {
        free(c->names.list[i].text);
    }
    free(c->pairs);
    free(c->sets);
    free(c->names.list);
    free(c->host);
    free(c);
}

/* Asking */

size_t certs_count(const struct certs *c)
{
    return c->n;
}

const struct certpair *certs_pair(const struct certs *c, size_t i)
{
    assert(i < c->n);
    return &c->pairs[i];
}

struct certpair *certs_new_pair(struct certs *c, size_t i)
{
    assert(i < c->n);
    return &c->pairs[i];
}

size_t certs_sets(const struct certs *c)
{
    return c->n_sets;
}

const struct certset *certs_set(const struct certs *c, size_t i)
{
    assert(i < c->n_sets);
    return &c->sets[i];
}

static const struct name *find(const struct certs *c, const char *asked)
{
    char name[NAME_MAX_LEN + 1], room[NAME_MAX_LEN + 2];
    if (*asked == '*' || !normalise(asked, name)) {
        return NULL;
    }
    const struct name *found = first_of(&c->names, name);
    const char *wildcard = found ? NULL : wildcard_of(name, room, sizeof(room));
    return wildcard ? first_of(&c->names, wildcard) : found;
}

size_t certs_find(const struct certs *c, const char *name)
{
    const struct name *found = find(c, name);
    return found ? found->at : 0;
}

bool certs_covers(const struct certs *c, const char *name)
{
    return find(c, name) != NULL;
}

const char *certs_host(const struct certs *c)
{
    return c->host;
}

bool certs_is_default(const struct certs *c, size_t pair)
{
    for (size_t i = 0; i < c->sets[0].n; i++) {
        if (c->sets[0].pair[i] == pair) {
            return true;
        }
    }
    return false;
}

bool certs_same(const struct certs *c, const struct certs *d)
{
    bool same = c->n == d->n && strcmp(c->host, d->host) == 0;
    for (size_t i = 0; same && i < c->n; i++) {
        same = certpair_same(&c->pairs[i], &d->pairs[i]);
    }
    return same;
}

int certs_describe(const struct certs *c, size_t i, time_t now, struct buf *b)
{
    const struct certpair *p = certs_pair(c, i);
    int r = certpair_describe(p, now, b);
    r = r == 0 ? buf_puts(b, ": ") : r;
    r = r == 0 ? cert_print(b, p->cert_path) : r;
    if (r == 0 && strcmp(p->cert_path, p->key_path) != 0) {
        r = buf_puts(b, " with ");
        r = r == 0 ? cert_print(b, p->key_path) : r;
    }
    r = r == 0 && p->kept ? buf_puts(b, ", from memory") : r;
    return r == 0 && c->n > 1 && certs_is_default(c, i) ? buf_puts(b, ", also for unknown names") : r;
}
