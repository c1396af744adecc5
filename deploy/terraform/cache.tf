# The Redis in which instances share their ID token, sealed with a key that
# Redis does not have. Its AUTH string is in the state, as Google hands it out.

resource "google_redis_instance" "token_cache" {
  count              = var.token_cache ? 1 : 0
  name               = "token-cache"
  region             = var.region
  tier               = "BASIC"
  memory_size_gb     = 1
  redis_version      = "REDIS_7_2"
  auth_enabled       = true
  authorized_network = var.network

  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret" "token_cache" {
  for_each  = toset(var.token_cache ? ["url", "key"] : [])
  secret_id = "token-cache-${each.value}"

  replication {
    auto {}
  }

  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret_version" "token_cache_url" {
  count  = var.token_cache ? 1 : 0
  secret = google_secret_manager_secret.token_cache["url"].id
  secret_data = format("redis://:%s@%s:%d",
    google_redis_instance.token_cache[0].auth_string,
    google_redis_instance.token_cache[0].host,
    google_redis_instance.token_cache[0].port,
  )
}

resource "google_secret_manager_secret_version" "token_cache_key" {
  count                  = var.token_cache ? 1 : 0
  secret                 = google_secret_manager_secret.token_cache["key"].id
  secret_data_wo         = var.token_cache_key
  secret_data_wo_version = 1
}

resource "google_secret_manager_secret_iam_member" "service_reads_token_cache" {
  for_each  = google_secret_manager_secret.token_cache
  secret_id = each.value.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.service.member
}
