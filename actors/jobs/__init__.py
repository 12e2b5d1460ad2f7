"""What is done in the background, job by job: queues, their schedule, and the workers that run them. What a job does is
its own room's matter; what of it lasts is in `persistence.databases`.
"""
