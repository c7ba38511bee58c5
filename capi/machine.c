/* Pushed state machines: calling the host's callbacks, and what they are given to write to and read from. */
#include "internal.h"

#include <stdio.h>

#include "_cgo_export.h"

/* ---- Bytes that grow ---- */

oar_status oar_bytes_append(struct oar_bytes *b, const void *piece, size_t piece_len) {
    if (piece == NULL && piece_len > 0) return oar_failed(OAR_ERR_ARGUMENT, "NULL with a length of %zu", piece_len);
    if (piece_len > b->cap - b->len) {
        if (piece_len > SIZE_MAX / 4 - b->len) return oar_failed(OAR_ERR_NO_MEMORY, "no memory for %zu bytes", piece_len);
        size_t cap = b->cap < 128 ? 256 : 2 * b->cap;
        if (cap < b->len + piece_len) cap = b->len + piece_len;
        unsigned char *larger = realloc(b->at, cap);
        if (larger == NULL) return oar_failed(OAR_ERR_NO_MEMORY, "no memory for %zu bytes", cap);
        b->at = larger;
        b->cap = cap;
    }
    if (piece_len > 0) memcpy(b->at + b->len, piece, piece_len);
    b->len += piece_len;
    return OAR_OK;
}

void oar_bytes_free(struct oar_bytes *b) {
    free(b->at);
    memset(b, 0, sizeof *b);
}

/* ---- What callbacks are given ---- */

oar_status oar_results_append(oar_results *results, const void *piece, size_t piece_len) {
    OAR_ENTER();
    if (results == NULL) return oar_failed(OAR_ERR_ARGUMENT, "results is NULL");
    if (results->ended == results->count)
        return oar_failed(OAR_ERR_ARGUMENT, "more results than the batch has entries (%zu)", results->count);
    if (piece_len > UINT32_MAX - (results->bytes.len - results->begins))
        return oar_failed(OAR_ERR_ARGUMENT, "a result of more than 4 GiB");
    return oar_bytes_append(&results->bytes, piece, piece_len);
}

oar_status oar_results_end(oar_results *results) {
    OAR_ENTER();
    if (results == NULL) return oar_failed(OAR_ERR_ARGUMENT, "results is NULL");
    if (results->ended == results->count)
        return oar_failed(OAR_ERR_ARGUMENT, "more results than the batch has entries (%zu)", results->count);
    results->lengths[results->ended++] = (uint32_t)(results->bytes.len - results->begins);
    results->begins = results->bytes.len;
    return OAR_OK;
}

oar_status oar_results_add(oar_results *results, const void *result, size_t result_len) {
    oar_status status = oar_results_append(results, result, result_len);
    return status == OAR_OK ? oar_results_end(results) : status;
}

oar_status oar_buf_append(oar_buf *buf, const void *bytes, size_t bytes_len) {
    OAR_ENTER();
    if (buf == NULL) return oar_failed(OAR_ERR_ARGUMENT, "buf is NULL");
    return oar_bytes_append(&buf->bytes, bytes, bytes_len);
}

oar_status oar_writer_write(oar_writer *writer, const void *bytes, size_t bytes_len) {
    OAR_ENTER();
    if (writer == NULL || (bytes == NULL && bytes_len > 0)) return oar_failed(OAR_ERR_ARGUMENT, "writer or bytes is NULL");
    if (writer->failed != OAR_OK) return oar_failed(writer->failed, "a write of this snapshot failed before");
    if (bytes_len > 0) writer->failed = oargo_writer_write(writer->go, (void *)(uintptr_t)bytes, bytes_len);
    return writer->failed;
}

oar_status oar_reader_read(oar_reader *reader, void *buffer, size_t buffer_len, size_t *got) {
    OAR_ENTER();
    if (reader == NULL || buffer == NULL || buffer_len == 0 || got == NULL)
        return oar_failed(OAR_ERR_ARGUMENT, "reader, buffer or got is NULL, or buffer_len is 0");
    return oargo_reader_read(reader->go, buffer, buffer_len, got);
}

/* ---- The callbacks ---- */

void oar_said(char **text, char *said, oar_status status, const char *what) {
    if (status != OAR_OK && said == NULL) {
        char line[160];
        (void)snprintf(line, sizeof line, "%s returned %d (%s)", what, (int)status, oar_status_name(status));
        said = strdup(line);
    }
    if (status == OAR_OK) {
        free(said);
        said = NULL;
    }
    *text = said;
}

oar_status oar_machine_apply(struct oar_machine *m, const oar_entry *entries, size_t count, char **text) {
    struct oar_results *r = &m->results;
    if (count > r->cap) {
        uint32_t *larger = realloc(r->lengths, count * sizeof *larger);
        if (larger == NULL) {
            *text = strdup("no memory for the results of a batch");
            return OAR_ERR_NO_MEMORY;
        }
        r->lengths = larger;
        r->cap = count;
    }
    r->count = count;
    r->ended = r->begins = r->bytes.len = 0;
    oar_callback_enter();
    oar_status status = m->vtable.apply(m->user_data, entries, count, r);
    oar_said(text, oar_callback_leave(), status, "apply");
    if (status == OAR_OK && r->bytes.len > r->begins) (void)oar_results_end(r); /* appended and not ended: ended here */
    return status;
}

oar_status oar_machine_query(struct oar_machine *m, const void *query, size_t query_len, struct oar_buf *answer, char **text) {
    oar_callback_enter();
    oar_status status = m->vtable.query(m->user_data, query, query_len, answer);
    oar_said(text, oar_callback_leave(), status, "query");
    return status;
}

oar_status oar_machine_prepare(struct oar_machine *m, void **snapshot, char **text) {
    *snapshot = NULL;
    *text = NULL;
    if (m->vtable.snapshot_prepare == NULL) return OAR_OK;
    oar_callback_enter();
    oar_status status = m->vtable.snapshot_prepare(m->user_data, snapshot);
    oar_said(text, oar_callback_leave(), status, "snapshot_prepare");
    return status;
}

oar_status oar_machine_write(struct oar_machine *m, void **snapshot, uintptr_t go, char **text) {
    oar_writer writer = {go, OAR_OK};
    oar_callback_enter();
    oar_status status = m->vtable.snapshot_write(m->user_data, *snapshot, &writer);
    char *said = oar_callback_leave();
    if (status == OAR_OK) status = writer.failed; /* a callback that did not look */
    oar_said(text, said, status, "snapshot_write");
    return status;
}

void oar_machine_release(struct oar_machine *m, void **snapshot) {
    if (m->vtable.snapshot_release == NULL) return;
    oar_callback_enter();
    m->vtable.snapshot_release(m->user_data, *snapshot);
    free(oar_callback_leave());
}

oar_status oar_machine_restore(struct oar_machine *m, uintptr_t go, char **text) {
    oar_reader reader = {go};
    oar_callback_enter();
    oar_status status = m->vtable.restore(m->user_data, &reader);
    oar_said(text, oar_callback_leave(), status, "restore");
    return status;
}

int oar_machine_next_due(struct oar_machine *m, int64_t *time) {
    oar_callback_enter();
    int due = m->vtable.next_due(m->user_data, time);
    free(oar_callback_leave());
    return due;
}

oar_status oar_machine_expire(struct oar_machine *m, uint64_t index, int64_t time, char **text) {
    oar_callback_enter();
    oar_status status = m->vtable.expire(m->user_data, index, time);
    oar_said(text, oar_callback_leave(), status, "expire");
    return status;
}

uint64_t oar_machine_hash(struct oar_machine *m) {
    oar_callback_enter();
    uint64_t hash = m->vtable.state_hash(m->user_data);
    free(oar_callback_leave());
    return hash;
}
