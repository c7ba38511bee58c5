/* The table of handles. A handle is a number made to look like a pointer: the place in the table, the type, and the
 * generation of the place, so that one that was freed is never taken for its successor. */
#include "internal.h"

/* A place's word: generation in the upper 32 bits, then the bit `ending`, then how many threads are inside. */
#define ENDING ((uint64_t)1 << 31)
#define INSIDE (ENDING - 1)

enum { CHUNK_BITS = 8, CHUNK = 1 << CHUNK_BITS, CHUNKS = 1 << 14 };

struct place {
    _Atomic uint64_t word;
    _Atomic(void *) object;
    atomic_int type; /* 0: free */
    struct place *next_free;
    uint32_t index;
};

/* Chunks never move and are never given back, so that a place can be looked at without a lock. */
static _Atomic(struct place *) chunks[CHUNKS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t left = PTHREAD_COND_INITIALIZER;
static struct place *free_places;
static uint32_t chunks_used;
static atomic_uint counts[OAR_TYPES];

static void *to_handle(const struct place *p, uint64_t word, int type) {
    return (void *)(uintptr_t)((word >> 32) << 32 | (uint64_t)p->index << 4 | (uint64_t)type);
}

/* The place that a handle names, if it may still name one. */
static struct place *find(const void *handle, enum oar_type type, uint64_t *generation) {
    uint64_t h = (uint64_t)(uintptr_t)handle;
    uint32_t index = (uint32_t)h >> 4;
    if ((h & 15) != (uint64_t)type || index >> CHUNK_BITS >= CHUNKS) return NULL;
    struct place *chunk = atomic_load_explicit(&chunks[index >> CHUNK_BITS], memory_order_acquire);
    if (chunk == NULL) return NULL;
    *generation = h >> 32;
    return &chunk[index & (CHUNK - 1)];
}

static bool more_places(void) {
    if (chunks_used == CHUNKS) return false;
    struct place *chunk = calloc(CHUNK, sizeof *chunk);
    if (chunk == NULL) return false;
    for (int i = CHUNK - 1; i >= 0; i--) {
        chunk[i].index = chunks_used << CHUNK_BITS | (uint32_t)i;
        chunk[i].next_free = free_places;
        free_places = &chunk[i];
    }
    atomic_store_explicit(&chunks[chunks_used++], chunk, memory_order_release);
    return true;
}

void *oar_handle_new(enum oar_type type, void *object) {
    pthread_mutex_lock(&mutex);
    if (free_places == NULL && !more_places()) {
        pthread_mutex_unlock(&mutex);
        oar_failed(OAR_ERR_NO_MEMORY, "no memory for another handle");
        return NULL;
    }
    struct place *p = free_places;
    free_places = p->next_free;
    uint64_t word = atomic_load(&p->word);
    if (word == 0) word = (uint64_t)1 << 32; /* so that no handle is NULL */
    atomic_store(&p->object, object);
    atomic_store(&p->word, word);
    atomic_store(&p->type, (int)type);
    void *handle = to_handle(p, word, (int)type);
    pthread_mutex_unlock(&mutex);
    atomic_fetch_add(&counts[type], 1);
    return handle;
}

static const char *const names[OAR_TYPES] = {
    [OAR_CONFIG] = "oar_config", [OAR_SERVER] = "oar_server", [OAR_CLIENT] = "oar_client",
    [OAR_CALL] = "oar_call",     [OAR_QUEUE] = "oar_queue",   [OAR_EVENTS] = "oar_events",
    [OAR_CLUSTER] = "oar_cluster",
};

static void *no_handle(const void *handle, enum oar_type type) {
    if (handle == NULL) {
        oar_failed(OAR_ERR_HANDLE, "the %s is NULL", names[type]);
    } else {
        oar_failed(OAR_ERR_HANDLE, "%p is no %s, or one that was freed", handle, names[type]);
    }
    return NULL;
}

/* Moves a place's word by `add`, if it is still of this generation and not ending. */
static struct place *change(const void *handle, enum oar_type type, uint64_t add) {
    uint64_t generation;
    struct place *p = find(handle, type, &generation);
    if (p == NULL) return NULL;
    uint64_t word = atomic_load(&p->word);
    do {
        if (word >> 32 != generation || (word & ENDING) != 0 || atomic_load(&p->type) != (int)type) return NULL;
    } while (!atomic_compare_exchange_weak(&p->word, &word, word + add));
    return p;
}

void *oar_handle_enter(const void *handle, enum oar_type type) {
    struct place *p = change(handle, type, 1);
    return p == NULL ? no_handle(handle, type) : atomic_load(&p->object);
}

static struct place *inside(const void *handle) {
    uint64_t generation;
    return find(handle, (enum oar_type)((uintptr_t)handle & 15), &generation);
}

void oar_handle_leave(const void *handle) {
    struct place *p = inside(handle);
    uint64_t before = atomic_fetch_sub(&p->word, 1);
    if ((before & ENDING) == 0 || (before & INSIDE) != 1) return;
    pthread_mutex_lock(&mutex);
    pthread_cond_broadcast(&left);
    pthread_mutex_unlock(&mutex);
}

void *oar_handle_end_begin(const void *handle, enum oar_type type) {
    struct place *p = change(handle, type, ENDING);
    return p == NULL ? no_handle(handle, type) : atomic_load(&p->object);
}

void oar_handle_end_finish(const void *handle) {
    struct place *p = inside(handle);
    pthread_mutex_lock(&mutex);
    while ((atomic_load(&p->word) & INSIDE) != 0) pthread_cond_wait(&left, &mutex);
    atomic_fetch_sub(&counts[atomic_load(&p->type)], 1);
    atomic_store(&p->type, 0);
    atomic_store(&p->object, NULL);
    /* A thread that looked at the old word and has not entered yet must not find it again. */
    atomic_store(&p->word, ((atomic_load(&p->word) >> 32) + 1) << 32);
    p->next_free = free_places;
    free_places = p;
    pthread_mutex_unlock(&mutex);
}

void *oar_handle_end(const void *handle, enum oar_type type) {
    void *object = oar_handle_end_begin(handle, type);
    if (object != NULL) oar_handle_end_finish(handle);
    return object;
}

uint32_t oar_handle_count(enum oar_type type) { return atomic_load(&counts[type]); }
