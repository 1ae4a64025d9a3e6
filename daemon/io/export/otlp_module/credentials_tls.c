#include "io/export/otlp_module/credentials.h"

#include "base/err.h"
#include "base/mem.h"

/* The library wants texts that end with a zero byte. NULL when there is none, or no memory. */
static char *terminated(struct str text)
{
    char *copy = text.len == 0 ? NULL : mem_alloc(text.len + 1);
    if (copy != NULL) {
        memcpy(copy, text.ptr, text.len);
        copy[text.len] = '\0';
    }
    return copy;
}

int credentials_make(const struct transport_target *target,
                     grpc_channel_credentials **ret_credentials)
{
    if (!target->tls) {
        *ret_credentials = grpc_insecure_credentials_create();
        return *ret_credentials == NULL ? ERR_SYSTEM : 0;
    }
    char *authorities = terminated(target->authorities);
    char *certificate = terminated(target->client_certificate);
    char *key = terminated(target->client_key);
    bool has_pair = certificate != NULL && key != NULL;
    int err = 0;
    if ((authorities == NULL && target->authorities.len > 0) ||
        (certificate == NULL && target->client_certificate.len > 0) ||
        (key == NULL && target->client_key.len > 0)) {
        err = ERR_NOMEM;
    } else {
        grpc_ssl_pem_key_cert_pair pair = {.private_key = key, .cert_chain = certificate};
        *ret_credentials =
            grpc_ssl_credentials_create(authorities, has_pair ? &pair : NULL, NULL, NULL);
        err = *ret_credentials == NULL ? ERR_SYSTEM : 0;
    }
    mem_free(authorities);
    mem_free(certificate);
    mem_free(key);
    return err;
}
