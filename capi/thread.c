/* What the library knows of the calling thread: its last failure, whether it is in a callback, whether the process is a
 * forked child. Memory and time are here too. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>

atomic_bool oar_forked;
atomic_ullong oar_bytes_held;

/* One pointer: a library with much thread-local storage cannot be loaded by dlopen. */
static __thread struct oar_thread *mine;
static pthread_key_t ends;
static bool has_key;

static void thread_ends(void *at) {
    struct oar_thread *t = at;
    mine = NULL;
    free(t->text);
    free(t->address);
    free(t->fail_text);
    free(t);
}

/* The child has one thread and none of the library's. Whatever needs another one would wait for ever. */
static void child(void) { atomic_store(&oar_forked, true); }

__attribute__((constructor)) static void load(void) {
    has_key = pthread_key_create(&ends, thread_ends) == 0;
    (void)pthread_atfork(NULL, NULL, child); /* fails only without memory, while the library is loaded */
}

struct oar_thread *oar_thread_mine(void) {
    if (mine == NULL && (mine = calloc(1, sizeof *mine)) != NULL) {
        mine->detail.struct_size = sizeof mine->detail;
        if (has_key) (void)pthread_setspecific(ends, mine); /* without it the thread's block lives to the end */
    }
    return mine;
}

/* Keeps a text, or an empty one where there is no memory. */
static void keep(char **text, size_t *cap, const char *from, size_t len) {
    if (len + 1 > *cap) {
        char *larger = realloc(*text, len + 1);
        if (larger == NULL) {
            if (*text != NULL) (*text)[0] = '\0';
            return;
        }
        *text = larger;
        *cap = len + 1;
    }
    if (len > 0) memcpy(*text, from, len);
    (*text)[len] = '\0';
}

uint32_t oar_class_of(oar_status status, oar_status cause) {
    return oar_status_class(status) | (oar_status_class(cause) & OAR_CLASS_FATAL);
}

oar_status oar_failed_with(const struct oar_failure *f) {
    struct oar_thread *t = oar_thread_mine();
    if (t == NULL) return f->status;
    t->detail.status = f->status;
    t->detail.cause = f->cause;
    t->detail.class_bits = oar_class_of(f->status, f->cause);
    t->detail.leader = f->leader;
    t->detail.system_error = f->system_error;
    const char *text = f->text == NULL ? oar_status_text(f->status) : f->text;
    keep(&t->text, &t->text_cap, text, f->text == NULL ? strlen(text) : f->text_len);
    keep(&t->address, &t->address_cap, f->address, f->address == NULL ? 0 : f->address_len);
    return f->status;
}

oar_status oar_failed_by(oar_status status, oar_status cause, const char *text) {
    struct oar_failure f = {.status = status, .cause = cause, .text = text, .text_len = strlen(text)};
    return oar_failed_with(&f);
}

oar_status oar_failed(oar_status status, const char *format, ...) {
    char text[512];
    struct oar_failure f = {.status = status, .cause = status};
    if (format != NULL) {
        va_list args;
        va_start(args, format);
        int n = vsnprintf(text, sizeof text, format, args);
        va_end(args);
        f.text = text;
        f.text_len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    }
    return oar_failed_with(&f);
}

const char *oar_last_error(void) { return mine == NULL || mine->text == NULL ? "" : mine->text; }

oar_status oar_last_error_detail(oar_error_detail *detail) {
    oar_error_detail now = {.struct_size = sizeof now, .leader_address = ""};
    if (mine != NULL) now = mine->detail;
    now.leader_address = mine == NULL || mine->address == NULL ? "" : mine->address;
    return oar_give(detail, &now, sizeof now, "oar_error_detail", sizeof now);
}

oar_status oar_may_wait(void) {
    if (mine != NULL && mine->callbacks > 0)
        return oar_failed(OAR_ERR_WOULD_DEADLOCK, "a callback must not wait for the library, which may be waiting for it; "
                                                  "the functions ending in _async and _queued do not wait");
    return OAR_OK;
}

oar_status oar_check_timeout(int64_t timeout) {
    if (timeout >= OAR_FOREVER) return OAR_OK;
    return oar_failed(OAR_ERR_ARGUMENT, "a timeout of %lld: it must be 0 or more, or OAR_FOREVER", (long long)timeout);
}

void oar_callback_enter(void) {
    struct oar_thread *t = oar_thread_mine();
    if (t != NULL) t->callbacks++; /* else a call that would deadlock is not noticed, and nothing else */
}

char *oar_callback_leave(void) {
    if (mine == NULL || mine->callbacks == 0) return NULL;
    mine->callbacks--;
    char *text = mine->fail_text;
    mine->fail_text = NULL;
    return text;
}

oar_status oar_fail(const char *text) {
    struct oar_thread *t = oar_thread_mine();
    if (t == NULL) return OAR_ERR_STATE_MACHINE;
    free(t->fail_text);
    t->fail_text = text == NULL ? NULL : strdup(text);
    return OAR_ERR_STATE_MACHINE;
}

static oar_status check_size(const void *s, const char *name, size_t first, size_t now, uint32_t *size) {
    if (s == NULL) return oar_failed(OAR_ERR_ARGUMENT, "the %s is NULL", name);
    memcpy(size, s, sizeof *size);
    if (*size >= first && *size % 4 == 0 && *size <= first + 4096) return OAR_OK;
    return oar_failed(OAR_ERR_STRUCT_SIZE, "struct_size of an %s is %u, must be %zu (OAR_INIT sets it)", name, *size, now);
}

oar_status oar_take(void *to, size_t size, const void *from, const char *name, size_t first) {
    uint32_t theirs = 0;
    OAR_TRY(check_size(from, name, first, size, &theirs));
    for (size_t i = size; i < theirs; i++)
        if (((const unsigned char *)from)[i] != 0)
            return oar_failed(OAR_ERR_STRUCT_SIZE, "an %s of %u bytes uses what this version (%zu bytes) does not have", name, theirs, size);
    memset(to, 0, size);
    memcpy(to, from, theirs < size ? theirs : size);
    return OAR_OK;
}

oar_status oar_give(void *to, const void *from, size_t size, const char *name, size_t first) {
    uint32_t theirs = 0;
    OAR_TRY(check_size(to, name, first, size, &theirs));
    memset(to, 0, theirs);
    memcpy(to, from, theirs < size ? theirs : size);
    memcpy(to, &theirs, sizeof theirs);
    return OAR_OK;
}

static void *counted(void *memory, size_t bytes) {
    if (memory == NULL) {
        oar_failed(OAR_ERR_NO_MEMORY, "no memory for %zu bytes", bytes);
        return NULL;
    }
    atomic_fetch_add_explicit(&oar_bytes_held, bytes, memory_order_relaxed);
    return memory;
}

void *oar_alloc(size_t bytes) { return counted(calloc(1, bytes), bytes); }

void *oar_alloc_raw(size_t bytes) { return counted(malloc(bytes), bytes); }

void oar_release(void *memory, size_t bytes) {
    if (memory == NULL) return;
    atomic_fetch_sub_explicit(&oar_bytes_held, bytes, memory_order_relaxed);
    free(memory);
}

void oar_free(void *memory) { free(memory); }

struct timespec oar_deadline(int64_t timeout) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
    if (timeout < 0) {
        t.tv_sec = INT64_MAX / 1000000000;
        return t;
    }
    t.tv_sec += timeout / 1000000000;
    t.tv_nsec += timeout % 1000000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

void oar_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* known to glibc */
    (void)pthread_cond_init(cond, &attr);
    (void)pthread_condattr_destroy(&attr);
}
