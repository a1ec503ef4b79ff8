"""V1: the customer's static system, done competently, behind the same ports and the same HTTP code.

Streaming answers; SQLAlchemy's default pool on an async engine; redis-py's default pool; a prompt of system
text, the last three fragments (an exchange each) and the question; at most 512 tokens; one runner profile.
No queue and no limit of its own: every request goes to the engine at once. Nothing here imports fluido.
"""
