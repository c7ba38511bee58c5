/* Configurations. What they are is on the Go side; the handle's object is its number there. */
#include "internal.h"

#include "_cgo_export.h"

static oar_status made(oar_status status, const uintptr_t *go, oar_config **config) {
    if (status != OAR_OK) return status;
    *config = oar_handle_new(OAR_CONFIG, (void *)*go);
    if (*config != NULL) return OAR_OK;
    oargo_config_free(*go);
    return OAR_ERR_NO_MEMORY;
}

static oar_status place(void *out, const char *name) {
    if (out == NULL) return oar_failed(OAR_ERR_ARGUMENT, "%s is NULL", name);
    memset(out, 0, sizeof(void *));
    return OAR_OK;
}

static oar_status text(const char *argument, const char *name) {
    return argument == NULL ? oar_failed(OAR_ERR_ARGUMENT, "%s is NULL", name) : OAR_OK;
}

/* The configuration's number on the Go side; 0 with the failure noted. */
static uintptr_t enter(oar_config *config) { return (uintptr_t)oar_handle_enter(config, OAR_CONFIG); }

oar_status oar_config_new(oar_config **config) {
    uintptr_t go = 0;
    OAR_ENTER();
    OAR_TRY(place(config, "config"));
    return made(oargo_config_new(&go), &go, config);
}

oar_status oar_config_load_file(const char *path, oar_config **config) {
    uintptr_t go = 0;
    OAR_ENTER();
    OAR_TRY(place(config, "config"));
    OAR_TRY(text(path, "path"));
    return made(oargo_config_load((char *)(uintptr_t)path, &go), &go, config);
}

oar_status oar_config_parse(const char *toml, size_t toml_len, const char *path, oar_config **config) {
    uintptr_t go = 0;
    OAR_ENTER();
    OAR_TRY(place(config, "config"));
    if (toml == NULL && toml_len > 0) return oar_failed(OAR_ERR_ARGUMENT, "text is NULL with a length of %zu", toml_len);
    return made(oargo_config_parse((char *)(uintptr_t)toml, toml_len, (char *)(uintptr_t)path, &go), &go, config);
}

oar_status oar_config_generate(uint32_t members, const char *data_dir, uint16_t port_first, oar_config **config) {
    uintptr_t go = 0;
    OAR_ENTER();
    OAR_TRY(place(config, "config"));
    OAR_TRY(text(data_dir, "data_dir"));
    return made(oargo_config_generate(members, (char *)(uintptr_t)data_dir, port_first, &go), &go, config);
}

oar_status oar_config_set(oar_config *config, const char *key, const char *value) {
    OAR_ENTER();
    OAR_TRY(text(key, "key"));
    OAR_TRY(text(value, "value"));
    uintptr_t go = enter(config);
    if (go == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_config_set(go, (char *)(uintptr_t)key, (char *)(uintptr_t)value);
    oar_handle_leave(config);
    return status;
}

oar_status oar_config_value(oar_config *config, const char *key, char **value) {
    OAR_ENTER();
    OAR_TRY(place(value, "value"));
    OAR_TRY(text(key, "key"));
    uintptr_t go = enter(config);
    if (go == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_config_value(go, (char *)(uintptr_t)key, value);
    oar_handle_leave(config);
    return status;
}

oar_status oar_config_validate(oar_config *config) {
    OAR_ENTER();
    uintptr_t go = enter(config);
    if (go == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_config_validate(go);
    oar_handle_leave(config);
    return status;
}

oar_status oar_config_members(oar_config *config, uint64_t *ids, size_t room, size_t *count) {
    OAR_ENTER();
    if (count == NULL || (ids == NULL && room > 0)) return oar_failed(OAR_ERR_ARGUMENT, "count is NULL, or ids is with room");
    *count = 0;
    uintptr_t go = enter(config);
    if (go == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_config_members(go, ids, room, count);
    oar_handle_leave(config);
    return status;
}

oar_status oar_config_dump(oar_config *config, char **toml) {
    OAR_ENTER();
    OAR_TRY(place(toml, "toml"));
    uintptr_t go = enter(config);
    if (go == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_config_dump(go, toml);
    oar_handle_leave(config);
    return status;
}

oar_status oar_config_write_file(oar_config *config, const char *path) {
    OAR_ENTER();
    OAR_TRY(text(path, "path"));
    uintptr_t go = enter(config);
    if (go == 0) return OAR_ERR_HANDLE;
    oar_status status = oargo_config_write(go, (char *)(uintptr_t)path);
    oar_handle_leave(config);
    return status;
}

oar_status oar_config_free(oar_config *config) {
    OAR_ENTER();
    if (config == NULL) return OAR_OK;
    uintptr_t go = (uintptr_t)oar_handle_end(config, OAR_CONFIG);
    if (go == 0) return OAR_ERR_HANDLE;
    oargo_config_free(go);
    return OAR_OK;
}
