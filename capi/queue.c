/* Completion queues: what has completed waits here for a thread of the host. */
#include "internal.h"

struct oar_queue_object {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct oar_call_object *first, *last; /* completed, in order */
    struct oar_call_object *taken;        /* handed out by the last oar_queue_next */
    size_t expected;                      /* calls under way */
    unsigned waiting;
    bool closed;
    bool freed; /* only calls under way still hold it */
};

oar_status oar_queue_new(oar_queue **handle) {
    OAR_ENTER();
    if (handle == NULL) return oar_failed(OAR_ERR_ARGUMENT, "queue is NULL");
    *handle = NULL;
    struct oar_queue_object *q = oar_alloc(sizeof *q);
    if (q == NULL) return OAR_ERR_NO_MEMORY;
    (void)pthread_mutex_init(&q->mutex, NULL);
    oar_cond_init(&q->changed);
    void *h = oar_handle_new(OAR_QUEUE, q);
    if (h == NULL) {
        oar_release(q, sizeof *q);
        return OAR_ERR_NO_MEMORY;
    }
    *handle = h;
    return OAR_OK;
}

static void destroy(struct oar_queue_object *q) {
    (void)pthread_cond_destroy(&q->changed);
    (void)pthread_mutex_destroy(&q->mutex);
    oar_release(q, sizeof *q);
}

static void drop(struct oar_call_object *list) {
    while (list != NULL) {
        struct oar_call_object *next = list->next;
        oar_call_unref(list);
        list = next;
    }
}

oar_status oar_queue_expect(oar_queue *handle, struct oar_call_object *call) {
    struct oar_queue_object *q = oar_handle_enter(handle, OAR_QUEUE);
    if (q == NULL) return OAR_ERR_HANDLE;
    pthread_mutex_lock(&q->mutex);
    bool closed = q->closed;
    if (!closed) q->expected++;
    pthread_mutex_unlock(&q->mutex);
    call->queue = q;
    oar_handle_leave(handle);
    return closed ? oar_failed(OAR_ERR_CLOSED, "the queue is closed") : OAR_OK;
}

/* One call less is under way. Returns whether the queue goes with it. */
static bool settled(struct oar_queue_object *q) {
    q->expected--;
    return q->freed && q->expected == 0;
}

void oar_queue_unexpect(struct oar_call_object *call) {
    struct oar_queue_object *q = call->queue;
    pthread_mutex_lock(&q->mutex);
    bool last = settled(q);
    if (q->closed) pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->mutex);
    if (last) destroy(q);
}

void oar_queue_put(struct oar_queue_object *q, struct oar_call_object *call) {
    pthread_mutex_lock(&q->mutex);
    bool last = settled(q), freed = q->freed, wake = q->waiting > 0;
    if (!freed) {
        call->next = NULL;
        *(q->first == NULL ? &q->first : &q->last->next) = call;
        q->last = call;
    }
    if (wake) pthread_cond_signal(&q->changed);
    pthread_mutex_unlock(&q->mutex);
    if (freed) oar_call_unref(call);
    if (last) destroy(q);
}

static void hand_out(struct oar_queue_object *q, unsigned char *at, size_t size, size_t most, size_t *count) {
    size_t n = 0;
    struct oar_call_object **end = &q->taken;
    for (; n < most && q->first != NULL; n++, at += size) {
        struct oar_call_object *call = q->first;
        q->first = call->next;
        call->next = NULL;
        *end = call;
        end = &call->next;
        oar_completion c = call->completion;
        if (c.text == NULL) c.text = c.status == OAR_OK ? "" : oar_status_text(c.status);
        if (c.leader_address == NULL) c.leader_address = "";
        c.struct_size = (uint32_t)size;
        memset(at, 0, size);
        memcpy(at, &c, size < sizeof c ? size : sizeof c);
    }
    *count = n;
}

oar_status oar_queue_next(oar_queue *handle, int64_t timeout, oar_completion *completions, size_t completion_size,
                          size_t most, size_t *count) {
    OAR_ENTER();
    if (count != NULL) *count = 0;
    if (completions == NULL || count == NULL || most == 0)
        return oar_failed(OAR_ERR_ARGUMENT, "completions or count is NULL, or most is 0");
    if (completion_size < OAR_UP_TO(oar_completion, index) || completion_size > 4096 || completion_size % 8 != 0)
        return oar_failed(OAR_ERR_STRUCT_SIZE, "completion_size is %zu, must be sizeof(oar_completion)", completion_size);
    OAR_TRY(oar_check_timeout(timeout));
    OAR_TRY(oar_may_wait());
    oar_status status = OAR_OK;
    struct oar_queue_object *q = oar_handle_enter(handle, OAR_QUEUE);
    if (q == NULL) return OAR_ERR_HANDLE;
    struct timespec deadline = oar_deadline(timeout);
    pthread_mutex_lock(&q->mutex);
    struct oar_call_object *old = q->taken;
    q->taken = NULL;
    pthread_mutex_unlock(&q->mutex);
    drop(old);
    bool late = false;
    pthread_mutex_lock(&q->mutex);
    q->waiting++;
    while (q->first == NULL && !late && !q->freed && !(q->closed && q->expected == 0))
        late = pthread_cond_timedwait(&q->changed, &q->mutex, &deadline) != 0;
    q->waiting--;
    if (q->first != NULL) {
        hand_out(q, (unsigned char *)completions, completion_size, most, count);
    } else {
        status = q->freed || (q->closed && q->expected == 0) ? OAR_ERR_CLOSED : OAR_ERR_TIMEOUT;
    }
    pthread_mutex_unlock(&q->mutex);
    oar_handle_leave(handle);
    return status == OAR_OK ? OAR_OK : oar_failed(status, NULL);
}

oar_status oar_queue_close(oar_queue *handle) {
    OAR_ENTER();
    struct oar_queue_object *q = oar_handle_enter(handle, OAR_QUEUE);
    if (q == NULL) return OAR_ERR_HANDLE;
    pthread_mutex_lock(&q->mutex);
    q->closed = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->mutex);
    oar_handle_leave(handle);
    return OAR_OK;
}

oar_status oar_queue_free(oar_queue *handle) {
    OAR_ENTER();
    if (handle == NULL) return OAR_OK;
    struct oar_queue_object *q = oar_handle_end_begin(handle, OAR_QUEUE);
    if (q == NULL) return OAR_ERR_HANDLE;
    pthread_mutex_lock(&q->mutex);
    q->closed = q->freed = true;
    q->expected++; /* our own, so that it stays until we are through */
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->mutex);
    oar_handle_end_finish(handle); /* those inside oar_queue_next come out */
    pthread_mutex_lock(&q->mutex);
    struct oar_call_object *taken = q->taken, *completed = q->first;
    q->taken = q->first = NULL;
    bool last = settled(q);
    pthread_mutex_unlock(&q->mutex);
    drop(taken);
    drop(completed);
    if (last) destroy(q);
    return OAR_OK;
}
