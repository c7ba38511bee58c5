/* Pulled state machines: work waits here for threads of the host. */
#include "internal.h"

#include "_cgo_export.h"

struct oar_work_queue *oar_work_queue_new(void) {
    struct oar_work_queue *q = oar_alloc(sizeof *q);
    if (q == NULL) return NULL;
    (void)pthread_mutex_init(&q->mutex, NULL);
    oar_cond_init(&q->changed);
    return q;
}

void oar_work_queue_free(struct oar_work_queue *q) {
    if (q == NULL) return;
    while (q->first != NULL) {
        struct oar_work_item *next = q->first->next;
        oar_release(q->first, sizeof *q->first);
        q->first = next;
    }
    (void)pthread_cond_destroy(&q->changed);
    (void)pthread_mutex_destroy(&q->mutex);
    oar_release(q, sizeof *q);
}

static oar_status no_pull(void) {
    return oar_failed(OAR_ERR_ORDER, "this server was opened with a pushed machine, not with OAR_SERVER_PULL");
}

/* Whether work is failed and not handed out. What was captured has to be released in any case but an abandoned one. */
static bool refused(const struct oar_work_queue *q, uint32_t kind) {
    return q->abandoned || (q->closed && kind != OAR_WORK_SNAPSHOT_RELEASE);
}

uint64_t oar_work_push(struct oar_work_queue *q, const struct oar_work_item *item) {
    struct oar_work_item *mine = oar_alloc(sizeof *mine);
    if (mine == NULL) return 0;
    *mine = *item;
    mine->next = NULL;
    mine->work.struct_size = sizeof mine->work;
    if (mine->work.kind == OAR_WORK_SNAPSHOT_WRITE) mine->work.writer = &mine->writer;
    if (mine->work.kind == OAR_WORK_RESTORE) mine->work.reader = &mine->reader;
    pthread_mutex_lock(&q->mutex);
    uint64_t id = mine->work.id = ++q->last_id;
    bool no = refused(q, mine->work.kind);
    if (!no) {
        struct oar_work_item **end = &q->first;
        while (*end != NULL) end = &(*end)->next; /* a few at most */
        *end = mine;
        if (q->waiting > 0) pthread_cond_broadcast(&q->changed); /* who takes it depends on the kind */
    }
    pthread_mutex_unlock(&q->mutex);
    if (!no) return id;
    if (mine->go != 0) oargo_work_done(mine->go, OAR_ERR_CLOSED, NULL, 0);
    oar_release(mine, sizeof *mine);
    return id;
}

/* Takes everything out that is refused from now on, and fails it. */
static void fail_refused(struct oar_work_queue *q, bool fetched) {
    struct oar_work_item *out = NULL;
    pthread_mutex_lock(&q->mutex);
    for (struct oar_work_item **at = &q->first; *at != NULL;) {
        struct oar_work_item *item = *at;
        if (!refused(q, item->work.kind) || (item->taken && !fetched)) {
            at = &item->next;
            continue;
        }
        *at = item->next;
        item->next = out;
        out = item;
    }
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->mutex);
    while (out != NULL) {
        struct oar_work_item *next = out->next;
        if (out->go != 0) oargo_work_done(out->go, OAR_ERR_CLOSED, NULL, 0);
        oar_release(out, sizeof *out);
        out = next;
    }
}

void oar_work_close(struct oar_work_queue *q) {
    pthread_mutex_lock(&q->mutex);
    q->closed = true;
    pthread_mutex_unlock(&q->mutex);
    fail_refused(q, false);
}

oar_status oar_work_abandon(oar_server *server) {
    OAR_ENTER();
    struct oar_server_object *s = oar_handle_enter(server, OAR_SERVER);
    if (s == NULL) return OAR_ERR_HANDLE;
    oar_status status = s->work == NULL ? no_pull() : OAR_OK;
    if (status == OAR_OK) {
        pthread_mutex_lock(&s->work->mutex);
        s->work->closed = s->work->abandoned = true;
        pthread_mutex_unlock(&s->work->mutex);
        fail_refused(s->work, true);
    }
    oar_handle_leave(server);
    return status;
}

static struct oar_work_item *pick(struct oar_work_queue *q, uint32_t kinds) {
    for (struct oar_work_item *i = q->first; i != NULL; i = i->next)
        if (!i->taken && (i->work.kind & kinds) != 0) return i;
    return NULL;
}

static oar_status next(struct oar_work_queue *q, uint32_t kinds, int64_t timeout, oar_work *work) {
    struct timespec deadline = oar_deadline(timeout);
    struct oar_work_item *item = NULL;
    bool late = false, closed = false;
    pthread_mutex_lock(&q->mutex);
    q->waiting++;
    for (;;) {
        item = pick(q, kinds);
        closed = q->closed && item == NULL;
        if (item != NULL || closed || late) break;
        late = pthread_cond_timedwait(&q->changed, &q->mutex, &deadline) != 0;
    }
    q->waiting--;
    if (item != NULL) {
        item->taken = true;
        item->by = pthread_self();
        *work = item->work;
    }
    pthread_mutex_unlock(&q->mutex);
    if (closed) {
        OAR_INIT(work);
        work->kind = OAR_WORK_CLOSED;
        return OAR_OK;
    }
    if (item == NULL) return oar_failed(OAR_ERR_TIMEOUT, "there is no work");
    oar_callback_enter();
    return OAR_OK;
}

oar_status oar_work_next(oar_server *server, uint32_t kinds, int64_t timeout, oar_work *out) {
    OAR_ENTER();
    oar_work work;
    OAR_INIT(&work);
    OAR_TRY(oar_give(out, &work, sizeof work, "oar_work", sizeof work));
    if ((kinds & OAR_WORK_ALL) == 0 || (kinds & ~OAR_WORK_ALL) != 0)
        return oar_failed(OAR_ERR_FLAGS, "kinds is %#x, must be made of OAR_WORK_ bits", kinds);
    OAR_TRY(oar_check_timeout(timeout));
    OAR_TRY(oar_may_wait());
    struct oar_server_object *s = oar_handle_enter(server, OAR_SERVER);
    if (s == NULL) return OAR_ERR_HANDLE;
    oar_status status = s->work == NULL ? no_pull() : next(s->work, kinds, timeout, &work);
    if (status == OAR_OK) (void)oar_give(out, &work, sizeof work, "oar_work", sizeof work);
    if (status == OAR_OK && work.kind != OAR_WORK_CLOSED && oar_thread_mine() != NULL) oar_thread_mine()->owes = server;
    oar_handle_leave(server);
    return status;
}

/* Whether a results frame has a length for each entry and as many bytes as they say. */
static bool frame_fits(const struct oar_work_item *item, const void *data, size_t data_len) {
    size_t head = item->work.entry_count * sizeof(uint32_t), sum = 0;
    if (data_len < head) return false;
    for (size_t i = 0; i < item->work.entry_count; i++) {
        uint32_t length;
        memcpy(&length, (const unsigned char *)data + i * sizeof length, sizeof length);
        sum += length;
    }
    return sum == data_len - head;
}

static bool fits(const struct oar_work_item *item, oar_status status, const void *data, size_t data_len) {
    if (status != OAR_OK) return true;
    switch (item->work.kind) {
    case OAR_WORK_APPLY: return frame_fits(item, data, data_len);
    case OAR_WORK_STATE_HASH: return data_len == 8;
    case OAR_WORK_NEXT_DUE: return data_len == 8 || data_len == 0;
    default: return true;
    }
}

/* Takes a piece of work that this thread has fetched out of the queue. */
static oar_status take_out(struct oar_work_queue *q, uint64_t id, oar_status status, const void *data, size_t data_len,
                           struct oar_work_item **out) {
    oar_status said = OAR_OK;
    pthread_mutex_lock(&q->mutex);
    struct oar_work_item **at = &q->first;
    while (*at != NULL && (*at)->work.id != id) at = &(*at)->next;
    if (*at == NULL || !(*at)->taken || !pthread_equal((*at)->by, pthread_self())) {
        said = OAR_ERR_ORDER;
    } else if (!fits(*at, status, data, data_len)) {
        said = OAR_ERR_ARGUMENT;
    } else {
        *out = *at;
        *at = (*at)->next;
    }
    pthread_mutex_unlock(&q->mutex);
    if (said == OAR_ERR_ORDER)
        return oar_failed(said, "this thread does not owe work of id %llu", (unsigned long long)id);
    if (said != OAR_OK)
        return oar_failed(said, "work %llu: %zu bytes are not what this kind of work is answered with", (unsigned long long)id, data_len);
    return OAR_OK;
}

/* This thread is no longer in the callback that work of a server is. */
static void owes_nothing(const oar_server *server) {
    struct oar_thread *t = oar_thread_mine();
    if (t == NULL || t->owes != server) return;
    t->owes = NULL;
    free(oar_callback_leave());
}

static oar_status done(const oar_server *server, struct oar_work_queue *q, uint64_t id, oar_status status, const void *data,
                       size_t data_len) {
    struct oar_work_item *item = NULL;
    oar_status said = take_out(q, id, status, data, data_len, &item);
    if (said != OAR_OK) {
        if (said == OAR_ERR_ORDER && q->abandoned) owes_nothing(server);
        return said;
    }
    owes_nothing(server);
    if (status == OAR_OK && item->writer.failed != OAR_OK) status = item->writer.failed;
    if (item->go != 0) said = oargo_work_done(item->go, status, (void *)(uintptr_t)data, data_len);
    oar_release(item, sizeof *item);
    return said;
}

oar_status oar_work_done(oar_server *server, uint64_t id, oar_status status, const void *data, size_t data_len) {
    OAR_ENTER();
    if (data == NULL && data_len > 0) return oar_failed(OAR_ERR_ARGUMENT, "NULL with a length of %zu", data_len);
    struct oar_server_object *s = oar_handle_enter(server, OAR_SERVER);
    if (s == NULL) {
        owes_nothing(server); /* freed meanwhile: a release waits for nobody */
        return OAR_ERR_HANDLE;
    }
    oar_status said = s->work == NULL ? no_pull() : done(server, s->work, id, status, data, data_len);
    oar_handle_leave(server);
    return said;
}
